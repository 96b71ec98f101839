#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "uwimap/mbox.h"
#include "uwimap/uids.h"

static ssize_t read_text(void *arg, void *out, size_t size, off_t offset)
{
    const struct span *text = arg;
    size_t at = (size_t)offset < text->len ? (size_t)offset : text->len;
    size_t len = size < text->len - at ? size : text->len - at;
    if (len > 0)
        memcpy(out, text->text + at, len);
    return (ssize_t)len;
}

static int count(void *arg, struct span piece)
{
    *(size_t *)arg += piece.len;
    return 0;
}

/* Messages lie one behind the other, none is longer than its bytes in the file, and UIDs rise. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size);
    struct mbox mbox = {.arg = NULL};
    struct mbox_message message = {.offset = 0};
    struct mbox_uids uids;
    off_t last = -1;
    uint32_t last_uid = 0;
    size_t shown = 0;
    int result = mbox_start(&mbox, read_text, &text);
    while (result == 0 && (result = mbox_next(&mbox, &message)) > 0) {
        FUZZ_REQUIRE(message.offset > last && (size_t)message.offset < size);
        if (last < 0)
            mbox_uids_start(&uids, &message.meta);
        last = message.offset;
        uint32_t uid = mbox_uids_next(&uids, &message.meta);
        FUZZ_REQUIRE(uid == 0 || (uid > last_uid && uid <= uids.last));
        if (uid != 0)
            last_uid = uid;
        shown += message.header.len;
        /* Of every third message the body is passed over. */
        result = message.offset % 3 == 0 ? 0 : mbox_body(&mbox, &message, count, &shown);
    }
    FUZZ_REQUIRE(result == 0 || result == -EUCLEAN);
    FUZZ_REQUIRE(result == 0 || last < 0);
    FUZZ_REQUIRE(shown <= size);
    mbox_message_release(&message);
    mbox_release(&mbox);
    return 0;
}
