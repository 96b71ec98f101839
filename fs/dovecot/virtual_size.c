#include "dovecot/virtual_size.h"

void virtual_size_add(struct virtual_size *size, const char *bytes, size_t len)
{
    char last = size->last;
    uint64_t bare = 0;
    for (size_t i = 0; i < len; i++) {
        bare += bytes[i] == '\n' && last != '\r';
        last = bytes[i];
    }
    size->last = last;
    size->bytes += len;
    size->size += len + bare;
}
