/* Runs a fuzz target without libFuzzer:
 *
 *     fuzz_NAME FILE...              on these inputs
 *     fuzz_NAME -n COUNT FILE...     and then on COUNT random mutations of them
 *
 * A directory stands for the files in it. COURIERFS_SEED replays a run. The input at which a run
 * ends badly is left in ./fuzz-failed-input. */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LONGEST 65536

static struct buf *seeds;
static size_t seed_count;
static struct span current; /* what the target was given */

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "fuzz: cannot %s '%s': %s\n", what, path, strerror(errno));
    exit(1);
}

static void keep_failed_input(int signal_number)
{
    int fd = open("fuzz-failed-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0) {
        ssize_t written = write(fd, current.text, current.len);
        (void)written;
        close(fd);
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* So that what the sanitizers find also ends in keep_failed_input(). */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}

static void read_file(const char *path)
{
    char block[4096];
    size_t got;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail("open", path);
    seeds = reallocarray(seeds, seed_count + 1, sizeof(*seeds));
    if (seeds == NULL)
        fail("read", path);
    struct buf *seed = &seeds[seed_count++];
    *seed = BUF_EMPTY;
    while ((got = fread(block, 1, sizeof(block), file)) > 0)
        buf_add(seed, block, got);
    if (ferror(file) || buf_error(seed) < 0)
        fail("read", path);
    fclose(file);
}

static void read_directory(const char *path)
{
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0)
        fail("open", path);
    for (int i = 0; i < count; i++) {
        BUF_AUTO file = BUF_EMPTY;
        if (names[i]->d_name[0] != '.') {
            buf_printf(&file, "%s/%s", path, names[i]->d_name);
            if (buf_terminate(&file) < 0)
                fail("read", path);
            read_file(file.data);
        }
        free(names[i]);
    }
    free(names);
}

static void read_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        fail("open", path);
    if (S_ISDIR(st.st_mode))
        read_directory(path);
    else
        read_file(path);
}

/* On memory of exactly its size. */
static void run(struct span input)
{
    char *copy = malloc(input.len == 0 ? 1 : input.len);
    if (copy == NULL)
        fail("copy", "input");
    if (input.len > 0)
        memcpy(copy, input.text, input.len);
    current = span_make(copy, input.len);
    LLVMFuzzerTestOneInput((const uint8_t *)copy, input.len);
    free(copy);
}

static uint64_t state;

static size_t chance(size_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 11) % below;
}

static uint64_t choose_seed(void)
{
    const char *given = getenv("COURIERFS_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return given != NULL ? strtoull(given, NULL, 10)
                         : (uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 20);
}

static void insert(struct buf *input, size_t at, struct span piece)
{
    BUF_AUTO tail = BUF_EMPTY;
    buf_add(&tail, input->data + at, input->len - at);
    input->len = at;
    buf_add_span(input, piece);
    buf_add_span(input, buf_span(&tail));
}

static struct span chance_piece(struct span from)
{
    size_t start = chance(from.len + 1);
    return span_make(from.text + start, chance(from.len - start + 1));
}

static void mutate_once(struct buf *input)
{
    static const char *const pieces[] = {"\n",
                                         "\n\n",
                                         " ",
                                         "  ",
                                         ":",
                                         ":2,",
                                         ":2,S",
                                         "/",
                                         ".",
                                         "\r\n",
                                         "0",
                                         "1",
                                         "-",
                                         "+",
                                         "\t",
                                         "\xc3\xa9",
                                         "P",
                                         ",",
                                         "a",
                                         "INBOX",
                                         "4294967294",
                                         "4294967296",
                                         "18446744073709551615"};
    size_t at = chance(input->len + 1);
    switch (chance(6)) {
    case 0:
        insert(input, at, span_of(pieces[chance(sizeof(pieces) / sizeof(pieces[0]))]));
        break;
    case 1:
        insert(input, at, span_make("\0", 1));
        break;
    case 2:
        insert(input, at, chance_piece(buf_span(&seeds[chance(seed_count)])));
        break;
    case 3: {
        size_t gone = chance(input->len - at + 1) % 16;
        memmove(input->data + at, input->data + at + gone, input->len - at - gone);
        input->len -= gone;
        break;
    }
    case 4:
        if (at < input->len)
            input->data[at] = (char)chance(256);
        break;
    default:
        if (chance(20) == 0)
            input->len = at;
        break;
    }
    if (input->len > LONGEST)
        input->len = LONGEST;
}

static void run_mutations(size_t count)
{
    BUF_AUTO input = BUF_EMPTY;
    for (size_t i = 0; i < count; i++) {
        /* Sometimes go on from the last input. */
        if (chance(4) != 0) {
            buf_clear(&input);
            buf_add_span(&input, buf_span(&seeds[chance(seed_count)]));
        }
        if (buf_reserve(&input, 1) < 0)
            fail("make", "input");
        for (size_t steps = 1 + chance(8); steps > 0; steps--)
            mutate_once(&input);
        run(buf_span(&input));
    }
}

int main(int argc, char **argv)
{
    size_t mutations = 0;
    int option;
    while ((option = getopt(argc, argv, "n:")) != -1) {
        if (option != 'n')
            return 1;
        mutations = strtoull(optarg, NULL, 10);
    }
    for (int i = optind; i < argc; i++)
        read_path(argv[i]);
    if (seed_count == 0)
        read_path("/dev/null");
    signal(SIGABRT, keep_failed_input);
    uint64_t seed = choose_seed();
    printf("%s: %zu inputs, %zu mutations, COURIERFS_SEED=%" PRIu64 "\n", argv[0], seed_count,
           mutations, seed);
    fflush(stdout);
    state = seed * 2 + 1;
    for (size_t i = 0; i < seed_count; i++)
        run(buf_span(&seeds[i]));
    run_mutations(mutations);
    for (size_t i = 0; i < seed_count; i++)
        buf_release(&seeds[i]);
    free(seeds);
    return 0;
}
