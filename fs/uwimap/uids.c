#include "uwimap/uids.h"

void mbox_uids_start(struct mbox_uids *uids, const struct mbox_meta *first)
{
    *uids = (struct mbox_uids){.uidvalidity = first->uidvalidity, .last = first->last_uid};
    if (uids->uidvalidity == 0)
        uids->last = 0;
    if (uids->last > MBOX_HIGHEST_UID)
        uids->last = MBOX_HIGHEST_UID;
}

uint32_t mbox_uids_next(struct mbox_uids *uids, const struct mbox_meta *meta)
{
    if (uids->uidvalidity != 0 && meta->uid > uids->previous && meta->uid <= uids->last &&
        meta->uid <= MBOX_HIGHEST_UID)
        return uids->previous = meta->uid;
    if (uids->last >= MBOX_HIGHEST_UID)
        return 0;
    uids->fresh++;
    uids->refused += meta->uid != 0;
    return uids->previous = ++uids->last;
}
