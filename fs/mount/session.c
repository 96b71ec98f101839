#include "mount/session.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "bridge/bridge.h"
#include "fuse/requests.h"
#include "mount/background.h"
#include "mount/keeper.h"
#include "mount/state_dir.h"

#define MAX_THREADS 32

/* libfuse's messages end with a newline, ours do not. */
__attribute__((format(printf, 2, 0))) static void log_library(enum fuse_log_level level,
                                                              const char *format, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\n")] = '\0';
    if (level <= FUSE_LOG_ERR)
        log_error("%s", text);
    else if (level <= FUSE_LOG_WARNING)
        log_warning("%s", text);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* The lists of a large mailbox come and go between nodes that stay: with memory of their own they leave
 * no holes there. (Of 120,000 messages looked at, 59 MB in place of 81.) */
#define OWN_MEMORY (1 << 20)

static void keep_large_things_apart(void)
{
    mallopt(M_MMAP_THRESHOLD, OWN_MEMORY);
}

/* Only the main thread may get these: the loop waits there. */
static void block_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(how, &set, NULL);
}

/* Commas separate options. */
static void add_escaped(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == ',' || *text == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
}

static struct fuse_session *new_session(struct fs *fs, const struct options *options)
{
    BUF_AUTO words = BUF_EMPTY;
    buf_add_string(&words, "default_permissions,subtype=courierfs,fsname=");
    add_escaped(&words, options->store);
    if (getuid() == 0)
        buf_add_string(&words, ",allow_other");
    buf_add_string(&words, options->kernel.data);
    if (buf_terminate(&words) != 0)
        return NULL;
    char program[] = "courierfs";
    char dash_o[] = "-o";
    char *argv[] = {program, dash_o, words.data, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);
    struct fuse_session *session = fuse_session_new(&args, &request_ops, sizeof(request_ops), fs);
    fuse_opt_free_args(&args);
    return session;
}

static int serve(struct fuse_session *session)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (config == NULL) {
        log_error("cannot start: %s", strerror(ENOMEM));
        return 1;
    }
    /* No descriptor of /dev/fuse for each thread: threads are made by threads that act as some
     * caller at that moment, who may not open it. */
    fuse_loop_cfg_set_max_threads(config, MAX_THREADS);
    block_signals(SIG_UNBLOCK);
    int result = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    /* The number of the signal that ended it counts as a good end. */
    if (result >= 0)
        return 0;
    log_error("cannot serve the mount any longer: %s", strerror(-result));
    return 1;
}

static int serve_with_keeper(struct fuse_session *session, struct bridge *bridge)
{
    struct keeper keeper;
    int error = keeper_start(&keeper, fuse_session_fd(session), bridge);
    if (error != 0) {
        log_error("cannot start a process: %s", strerror(-error));
        return 1;
    }
    background_ready();
    int status = serve(session);
    keeper_dismiss(&keeper);
    return status;
}

static int mount_and_serve(struct fs *fs, const struct options *options)
{
    struct fuse_session *session = new_session(fs, options);
    if (session == NULL) {
        log_error("cannot mount on '%s': no session with the kernel", options->mountpoint);
        return 1;
    }
    int status = 1;
    if (fuse_set_signal_handlers(session) == 0) {
        if (fuse_session_mount(session, options->mountpoint) == 0) {
            status = serve_with_keeper(session, fs->bridge);
            fuse_session_unmount(session);
        }
        fuse_remove_signal_handlers(session);
    }
    fuse_session_destroy(session);
    return status;
}

static int run_with_bridge(struct store *store, const struct options *options)
{
    const struct bridge_options bridge_options = {
        .state_dir = options->state_dir,
        .use_cache = options->use_cache,
        .cache_size = options->cache_size,
    };
    struct bridge *bridge;
    if (bridge_init(store, &bridge_options, &bridge) != 0)
        return 1;
    struct fs fs;
    int status = 1;
    int error = fs_init(&fs, store, bridge, options->attr_timeout, options->control_layout);
    if (error == 0) {
        status = mount_and_serve(&fs, options);
        fs_release(&fs);
    } else {
        log_error("cannot open '%s': %s", options->store, strerror(-error));
    }
    bridge_free(bridge);
    return status;
}

int session_run(const struct options *options)
{
    AUTO_FD state_lock = state_dir_take(options->state_dir);
    if (state_lock < 0)
        return 1;
    struct store store;
    int error = store_init(&store, options->store, options->read_only);
    if (error != 0) {
        log_error("cannot open '%s': %s", options->store, strerror(-error));
        return 1;
    }
    fuse_set_log_func(log_library);
    raise_descriptor_limit();
    keep_large_things_apart();
    umask(0);
    block_signals(SIG_BLOCK);
    int status = run_with_bridge(&store, options);
    store_release(&store);
    return status;
}
