#include "fuse/status.h"

#include <inttypes.h>
#include <unistd.h>

/* No file of the store has this number, nor a control file: both are far from the end. */
#define STATUS_INO (UINT64_MAX - 1)

void status_stat(struct stat *st_r)
{
    *st_r = (struct stat){
        .st_ino = STATUS_INO,
        .st_mode = S_IFREG | 0400,
        .st_nlink = 1,
        .st_uid = getuid(),
        .st_gid = getgid(),
    };
}

void status_entry(struct fs *fs, struct fuse_entry_param *entry_r)
{
    struct stat st;
    status_stat(&st);
    fs_entry(fs, node_table_status(fs->nodes), &st, entry_r);
}

int status_text(struct fs *fs, struct buf *out)
{
    bridge_status(fs->bridge, out);
    buf_printf(out, "nodes: %zu\n", node_table_count(fs->nodes));
    for (enum request request = 0; request < REQUEST_COUNT; request++) {
        uint_least64_t count = atomic_load_explicit(&fs->requests[request], memory_order_relaxed);
        buf_printf(out, "request %s: %" PRIuLEAST64 "\n", fs_request_name(request), count);
    }
    for (enum store_call call = 0; call < STORE_CALL_COUNT; call++) {
        uint_least64_t count = atomic_load_explicit(&fs->store->calls[call], memory_order_relaxed);
        buf_printf(out, "store %s: %" PRIuLEAST64 "\n", store_call_name(call), count);
    }
    return buf_error(out);
}
