#include "dovecot/subscriptions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char version_2[] = "V\t2\n\n";

static bool starts_version_2(struct span text)
{
    return span_starts(text, version_2);
}

/* What stands for itself, or follows the escape character. */
static char unescaped(char c)
{
    switch (c) {
    case '0':
        return '\0';
    case '1':
        return '\001';
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case 'n':
        return '\n';
    default:
        return c;
    }
}

/* Never longer than LINE. */
static struct span unescape(struct buf *storage, struct span line)
{
    size_t start = storage->len;
    for (size_t i = 0; i < line.len; i++) {
        if (line.text[i] == '\t')
            buf_add_char(storage, '.');
        else if (line.text[i] == '\001' && i + 1 < line.len)
            buf_add_char(storage, unescaped(line.text[++i]));
        else
            buf_add_char(storage, line.text[i]);
    }
    return span_make(storage->data + start, storage->len - start);
}

static bool usable(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.text[i] == '\0' || name.text[i] == '\r' || name.text[i] == '\n')
            return false;
    return name.len > 0;
}

static int add_name(struct subscriptions *subscriptions, size_t *capacity, struct span name)
{
    if (subscriptions->count == *capacity) {
        size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
        struct span *names = reallocarray(subscriptions->names, wanted, sizeof(*names));
        if (names == NULL)
            return -ENOMEM;
        subscriptions->names = names;
        *capacity = wanted;
    }
    subscriptions->names[subscriptions->count++] = name;
    return 0;
}

static int add_lines(struct span text, bool escaped, struct subscriptions *subscriptions)
{
    struct span line;
    bool complete;
    size_t capacity = 0;
    /* Room for all at once, so that no name moves. */
    int rc = escaped ? buf_reserve(&subscriptions->storage, text.len) : 0;
    while (rc == 0 && span_next_line(&text, &line, &complete)) {
        if (line.len > 0 && line.text[line.len - 1] == '\r')
            line.len--;
        struct span name = escaped ? unescape(&subscriptions->storage, line) : line;
        if (usable(name))
            rc = add_name(subscriptions, &capacity, name);
    }
    return rc;
}

int subscriptions_parse(struct span text, struct subscriptions *subscriptions_r)
{
    memset(subscriptions_r, 0, sizeof(*subscriptions_r));
    bool escaped = starts_version_2(text);
    if (escaped) {
        size_t header = strlen(version_2);
        text = span_make(text.text + header, text.len - header);
    }
    int rc = add_lines(text, escaped, subscriptions_r);
    if (rc < 0)
        subscriptions_release(subscriptions_r);
    return rc;
}

void subscriptions_release(struct subscriptions *subscriptions)
{
    free(subscriptions->names);
    buf_release(&subscriptions->storage);
    memset(subscriptions, 0, sizeof(*subscriptions));
}

void subscriptions_format_name(struct buf *out, struct span name)
{
    buf_add_span(out, name);
    buf_add_char(out, '\n');
}
