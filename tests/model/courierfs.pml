/* Two Dovecot nodes and two Couriers on one mailbox: who may name which message by which UID.
 *
 * The question. Courier keeps a mailbox's UIDs in courierimapuiddb, replaces that file under the
 * lock tmp/courier.lock, and believes whatever the file says. courierfs takes part in this on behalf
 * of Dovecot. Spin walks through every order in which the steps of all of them can follow each
 * other, with a crash before any step, and looks for one in which
 *
 *   (1) a UID that some client was told names another message, ever; or a message that keeps its
 *       file gets a second UID;
 *   (4) a message that clients know is missing from the uid database although its file is there, or
 *       the uid database has a UID twice, or not below NEXTUID;
 *   (6) nobody can go on.
 *
 * Who is who.
 *
 *   Node      one Dovecot process and the courierfs (daemon) it works through. A process that waits
 *             for an answer of the mount cannot do anything else, so the two are one sequence.
 *   Courier   one imapd: scans the mailbox again and again (courier.md 5).
 *   Message   what befalls a message without any lock: it is delivered into `new`; a courierpop3d
 *             moves it to `cur`; a client deletes it.
 *
 * What is what.
 *
 *   file[]    where a message's file is. The base name never changes, flags do not matter.
 *   db_uid[], db_next   the uid database. Whether it is still the file that somebody read (inode,
 *             times) is one bit for each reader, `same`. Reading it is one step, as is replacing it.
 *   lock      the inode called tmp/courier.lock; 0 = none. An inode number is given out again as soon
 *             as nothing refers to it. owner[] is what is written in it: the process; DEAD is added
 *             when that has ended.
 *   told[]    the UID each message has for clients; named[] the message each UID named, for ever.
 *             Dovecot sessions read the list without a lock, so what the uid database says counts as
 *             told at once.
 *
 * A step is what others cannot come between: one system call on the store and whatever the process
 * computes for itself around it. A check and the act that relies on it are two steps. (Listing a
 * directory is one; MISSES says what a listing may get wrong.) Each names the function that it is in.
 *
 * Time. A lock of this host is stale when its process is dead. One of another host is when it is
 * 120 seconds old; a dead process's lock gets that old, so "dead" stands for both. With SLOW, that
 * of a living one can get old, too, STEALS times: 1 = a node's (the machine stood still), 2 = anybody's.
 *
 * Crashes, CRASHES in all. A Courier: at any step. A node: the daemon at any step (the lock stays, with
 * a process in it that lives and can do nothing), and with it or later its process; or Dovecot's
 * process alone, between two requests, because the kernel keeps a killed process until the file
 * system has answered. Then the actor starts anew.
 *
 * Switches that take an assumption away, or bring one in:
 *
 *   DOUBLE_UNLINK    Courier as it is: it reads a stale lock, unlinks the name, unlinks it once more,
 *                    three steps. Without this word nothing comes between them.
 *   EXAMINE          a Courier may also tell new UIDs without saving them.
 *   MISSES           how many times a listing of `cur` by Courier, or by Dovecot, misses a message that
 *                    is there. Courier then drops its line; Dovecot expunges it and gives it a new UID.
 *                    The message may have another UID from then on; all else must hold.
 *   COURIER_CHECKS   a Courier that does not exist: it replaces the uid database only if that is
 *                    the one it read, or only if the lock is its own. To tell our holes from its own.
 *   QUICK_COMMIT     nothing comes between courierfs's looks at lock and uid database and the rename.
 *   QUICK_RELEASE    nor between its look at its own lock and the unlink.
 *   MUTANT_...       a protective step of ours left out; each must be found. See test_model.py.
 */

#ifndef NODES
#define NODES 2
#endif
#ifndef COURIERS
#define COURIERS 2
#endif
#ifndef MESSAGES
#define MESSAGES 2
#endif
#if MESSAGES > 2
#error "where messages are named one by one there are two"
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef DELETIONS
#define DELETIONS 1
#endif
#ifndef SLOW
#define SLOW 0
#endif
#ifndef STEALS
#define STEALS 1
#endif
#ifndef MISSES
#define MISSES 0
#endif
#define NO_CHECK 0
#define CHECKS_DATABASE 1
#define CHECKS_LOCK 2
#ifndef COURIER_CHECKS
#define COURIER_CHECKS NO_CHECK
#endif

/* ---- the store ------------------------------------------------------------------------------- */

#define NOWHERE 0 /* not delivered yet */
#define NEW 1
#define CUR 2
#define GONE 3 /* deleted by a client */
#define IS_THERE(m) (file[m] == NEW || file[m] == CUR)

/* Actors: 1, 2 are nodes; 3, 4 Couriers. In a lock 1, 2 are Dovecot's processes, 5, 6 the daemons. Odd
 * ones are on one host, even ones on the other. */
#define ACTORS 4
#define IS_NODE(actor) ((actor) <= 2)
#define OTHER_NODE(actor) (3 - (actor))
#define DAEMON(node) ((node) + 4)
#define DEAD 8
#define HOST(owner) ((owner) % 2)
#define UID_LIMIT 12
#define INODES 4 /* one named, one open in each node, one more */

byte file[MESSAGES];
byte db_uid[MESSAGES]; /* 0 = no line */
byte db_next = 1;
byte lock;
byte owner[INODES + 1];

byte told[MESSAGES];
byte named[UID_LIMIT + 1]; /* the message's number + 1 */

bool same[ACTORS + 1]; /* the uid database is still the file that this actor read */
byte mine[ACTORS + 1]; /* the lock that it believes to hold */
byte opened[3];        /* another's lock that a node has open to break it */
bool excludes[3];       /* and has locked with fcntl */
byte highest_next[3];  /* mailbox.highest_next */
byte crashes, deletions, misses, steals;

hidden byte i, m, spare, found;

/* ---- what must hold -------------------------------------------------------------------------- */

inline tell(message, uid)
{
    assert(uid != 0 && uid < UID_LIMIT);
    assert(named[uid] == 0 || named[uid] == message + 1); /* (1) a UID names one message */
    assert(told[message] == 0 || told[message] == uid);   /* (1) a message has one UID */
    named[uid] = message + 1;
    told[message] = uid
}

/* What was in the uid database was told then; here counts what never was. */
#define tell_claim(message)                                                                        \
    if                                                                                             \
    :: IS_THERE(message) && claim[message] != 0 && named[claim[message]] != message + 1 ->         \
        tell(message, claim[message])                                                              \
    :: else                                                                                        \
    fi

/* Every new uid database, whoever made it. */
inline check_database()
{
    i = 0;
    do
    :: i < MESSAGES ->
        assert(db_uid[i] < db_next);                                          /* (4) */
        assert(!IS_THERE(i) || told[i] == 0 || db_uid[i] == told[i]);         /* (4), (1) */
        found = 0;
        do
        :: found < i -> assert(db_uid[i] == 0 || db_uid[found] != db_uid[i]); /* (4) */
           found++
        :: else -> break
        od;
        i++
    :: else -> break
    od;
    i = db_next;
    do
    :: i <= UID_LIMIT -> assert(named[i] == 0); i++ /* (1) nobody gives out a known UID again */
    :: else -> break
    od
}

/* ---- steps that both servers know ------------------------------------------------------------ */

/* What others cannot come between; "skip" is only there because spin wants a last statement. */
#define SURE(...) d_step { __VA_ARGS__; skip }

/* The same, and the actor can die before it. */
#if CRASHES > 0
#define STEP(...)                                                                                  \
    if                                                                                             \
    :: SURE(__VA_ARGS__)                                                                           \
    :: SURE(crashes < CRASHES -> crashes++; die(me)) -> goto died                                  \
    fi
#else
#define STEP(...) if :: SURE(__VA_ARGS__) fi
#endif

#define clear(array) m = 0; do :: m < MESSAGES -> array[m] = 0; m++ :: else -> break od

/* An inode that has no name and is not open is free. */
inline free_inodes()
{
    i = 1;
    do
    :: i <= INODES ->
        if
        :: lock != i && opened[1] != i && opened[2] != i -> owner[i] = 0
        :: else
        fi;
        i++
    :: else -> break
    od
}

inline end_process(process)
{
    i = 1;
    do
    :: i <= INODES -> if :: owner[i] == process -> owner[i] = process + DEAD :: else fi; i++
    :: else -> break
    od
}

/* Unique file, link() onto the name, link count: lock_take(). link() decides, all else is nobody's
 * business. */
inline take_lock(actor)
{
    spare = 1;
    do
    :: owner[spare] != 0 -> spare++
    :: else -> break
    od;
    assert(spare <= INODES);
    lock = spare;
    mine[actor] = spare;
    owner[spare] = actor
}

inline unlink_lock()
{
    lock = 0;
    free_inodes()
}

#define IS_ALIVE(inode) (owner[inode] != 0 && owner[inode] < DEAD)

/* Both servers' rule, lock_is_stale(): the process is dead; or it is the asker; or it is old. */
#if SLOW > 0
#define IS_OLD(inode, actor)                                                                       \
    (steals < STEALS && IS_ALIVE(inode) && HOST(owner[inode]) != HOST(actor) &&                    \
     (SLOW == 2 || IS_NODE(owner[inode])))
#define count_steal(inode) if :: IS_ALIVE(inode) -> steals++ :: else fi
#else
#define IS_OLD(inode, actor) false
#define count_steal(inode) skip
#endif
#define IS_STALE(inode, actor)                                                                     \
    (owner[inode] >= DEAD || owner[inode] == actor || IS_OLD(inode, actor))

inline read_database(actor)
{
    m = 0;
    do :: m < MESSAGES -> uid[m] = db_uid[m]; m++ :: else -> break od;
    next = db_next;
    same[actor] = IS_NODE(actor) || COURIER_CHECKS == CHECKS_DATABASE
}

/* From now on everybody can read it. */
inline rename_database(actor)
{
    m = 0;
    do
    :: m < MESSAGES ->
#if MISSES > 0
        /* The rule that makes a listing's mistake final. */
        if :: missed[m] && uid[m] != db_uid[m] -> told[m] = 0 :: else fi;
        missed[m] = false;
#endif
        db_uid[m] = uid[m];
        m++
    :: else -> break
    od;
    db_next = next;
    i = 1;
    do :: i <= ACTORS -> same[i] = (i == me && IS_NODE(me)); i++ :: else -> break od;
    check_database();
    m = 0;
    do :: m < MESSAGES -> if :: IS_THERE(m) && uid[m] != 0 -> tell(m, uid[m]) :: else fi; m++
    :: else -> break
    od
}

#if MISSES > 0
#define forget_missed clear(missed)
#define MISS(message)                                                                              \
    SURE(misses < MISSES && file[message] == CUR && uid[message] != 0 -> misses++;                 \
         missed[message] = true)
#else
#define forget_missed skip
#endif

/* ---- Courier's imapd ------------------------------------------------------------------------- */

#define forget_work(actor)                                                                         \
    mine[actor] = 0; same[actor] = false; changed = false; next = 0; k = 0; clear(uid);            \
    clear(seen); forget_missed

#define die(actor) end_process(actor); forget_work(actor); free_inodes()

#if COURIER_CHECKS == CHECKS_DATABASE
#define MAY_RENAME same[me]
#elif COURIER_CHECKS == CHECKS_LOCK
#define MAY_RENAME (lock == mine[me] && lock != 0 && owner[lock] == me)
#else
#define MAY_RENAME true
#endif

proctype Courier(byte me)
{
    byte uid[MESSAGES]; /* the uid database in memory */
    byte next, k;
    bool seen[MESSAGES];
    bool changed;
#if MISSES > 0
    bool missed[MESSAGES];
#endif

asleep:
    /* link(); EEXIST: read the lock, and judge it. */
    if
    :: SURE(lock == 0 -> take_lock(me))
#ifdef DOUBLE_UNLINK
    :: SURE(lock != 0 && IS_STALE(lock, me) -> count_steal(lock)) ->
        STEP(unlink_lock());
        STEP(unlink_lock()); /* again, whatever it is by now */
        goto asleep
#else
    :: SURE(lock != 0 && IS_STALE(lock, me) -> count_steal(lock); unlink_lock()) -> goto asleep
#endif
    fi;

    STEP(read_database(me));

#if MISSES > 0
    if
    :: MISS(0)
#if MESSAGES > 1
    :: MISS(1)
#endif
    :: true
    fi;
#define MISSED(message) missed[message]
#else
#define MISSED(message) false
#endif

    /* `cur` is listed: a line without a file goes, a file without a line will get one. */
    STEP(
        m = 0;
        do
        :: m < MESSAGES ->
            seen[m] = (file[m] == CUR && !MISSED(m));
            if
            :: seen[m] && uid[m] == 0 -> changed = true
            :: !seen[m] && uid[m] != 0 -> changed = true; uid[m] = 0
            :: else
            fi;
            m++
        :: else -> break
        od );

    /* `new` is listed, and each file moved to `cur`, where it is a new message whatever its line
     * said; after the last one the new UIDs are given, in the order of the names. */
    do
    :: k < MESSAGES ->
        STEP(
            do
            :: k < MESSAGES && file[k] != NEW -> k++
            :: k < MESSAGES && file[k] == NEW ->
                file[k] = CUR; seen[k] = true; uid[k] = 0; changed = true; k++;
                break
            :: k == MESSAGES -> break
            od;
            m = (k == MESSAGES -> 0 : MESSAGES);
            do
            :: m < MESSAGES ->
                if
                :: seen[m] && uid[m] == 0 -> uid[m] = next; next++
                :: else
                fi;
                seen[m] = false;
                m++
            :: else -> break
            od )
    :: else -> break
    od;

    /* What it tells its client is what the uid database says when it read or replaced it. */
    if
    :: !changed -> skip
    :: STEP(changed && MAY_RENAME -> rename_database(me))
#if COURIER_CHECKS != NO_CHECK
    :: SURE(changed && !MAY_RENAME -> skip)
#endif
#ifdef EXAMINE
    :: SURE(changed ->
            m = 0;
            do
            :: m < MESSAGES -> if :: IS_THERE(m) && uid[m] != 0 -> tell(m, uid[m]) :: else fi; m++
            :: else -> break
            od)
#endif
    fi;

    STEP(forget_work(me); unlink_lock()); /* by name, without a look */
    goto asleep;

#if CRASHES > 0
died:
    goto asleep
#endif
}

/* ---- a node: Dovecot and courierfs ----------------------------------------------------------- */

#undef forget_work
#define forget_work(actor)                                                                         \
    mine[actor] = 0; same[actor] = false; changed = false;  added = false;         \
    saves = false; next = 0; view_next = 0; first = 0; clear(uid); clear(view);                    \
    clear(claim); forget_missed

/* The daemon's end: Dovecot's process lives on. */
#undef die
#define die(actor)                                                                                 \
    end_process(DAEMON(actor)); opened[actor] = 0; excludes[actor] = false; highest_next[actor] = 0;  \
    left = false; forget_work(actor); free_inodes()

/* lock_still_ours(): the inode and the content. */
#if defined(MUTANT_NO_LOCK_CHECK)
#define LOCK_IS_OURS true
#elif defined(MUTANT_INODE_ONLY)
#define LOCK_IS_OURS (lock == mine[me] && lock != 0)
#else
#define LOCK_IS_OURS (lock == mine[me] && lock != 0 && owner[lock] == me)
#endif
#ifdef MUTANT_NO_DATABASE_CHECK
#define DATABASE_IS_SAME true
#else
#define DATABASE_IS_SAME same[me]
#endif

/* check_before_commit(): two looks. */
#define CHECK(on_failure)                                                                          \
    if                                                                                             \
    :: STEP(!LOCK_IS_OURS -> skip); goto on_failure                                                \
    :: STEP(LOCK_IS_OURS -> skip)                                                                  \
    fi;                                                                                            \
    if                                                                                             \
    :: STEP(!DATABASE_IS_SAME -> skip); goto on_failure                                            \
    :: STEP(DATABASE_IS_SAME -> skip)                                                              \
    fi

/* uiddb_commit(). */
#ifdef QUICK_COMMIT
#define COMMIT(on_failure)                                                                         \
    if                                                                                             \
    :: STEP(!(LOCK_IS_OURS && DATABASE_IS_SAME) -> skip); goto on_failure                          \
    :: STEP(LOCK_IS_OURS && DATABASE_IS_SAME -> rename_database(me))                               \
    fi
#else
#define COMMIT(on_failure)                                                                         \
    CHECK(on_failure);                                                                             \
    STEP(rename_database(me))
#endif

/* uids_record_in(): the uid database is read again, must be what it was at the grant or as we wrote
 * it since, and gets the claims; the messages that are claimed are moved; it is replaced. */
#ifdef MUTANT_NO_GRANT_CHECK
#define READ_AGAIN(on_failure) STEP(read_database(me); merge_claims())
#else
#define READ_AGAIN(on_failure)                                                                     \
    if                                                                                             \
    :: STEP(!DATABASE_IS_SAME -> skip); goto on_failure                                            \
    :: STEP(DATABASE_IS_SAME -> read_database(me); merge_claims())                                 \
    fi
#endif
#define RECORD(on_failure)                                                                         \
    READ_AGAIN(on_failure);                                                                        \
    MOVE_CLAIMED_TO_CUR;                                                                           \
    if                                                                                             \
    :: changed -> COMMIT(on_failure); changed = false                                              \
    :: else                                                                                        \
    fi

/* claims.c, may_have(). */
#define MAY_HAVE(message)                                                                          \
    (claim[message] >= first_free ||                                                               \
     (claim[message] >= first && (uid[message] == 0 || uid[message] >= first)))

/* claims_merge(): every claim against the uid database as it was read just now. */
inline merge_claims()
{
    first_free = next;
    m = 0;
    do
    :: m < MESSAGES ->
        if
        :: claim[m] == 0 || claim[m] == uid[m] || !MAY_HAVE(m) -> skip /* known, dead, refused */
        :: else ->
            if :: uid[m] == 0 -> added = true :: else fi;
            uid[m] = claim[m];
            changed = true;
            if :: claim[m] >= next -> next = claim[m] + 1 :: else fi
        fi;
        m++
    :: else -> break
    od;
    /* settle_clashes() */
    m = 0;
    do
    :: m < MESSAGES ->
        i = 0;
        do
        :: i < MESSAGES ->
            if
            :: i != m && uid[i] != 0 && uid[i] == uid[m] && claim[m] == uid[m] ->
                uid[i] = next; next++
            :: else
            fi;
            i++
        :: else -> break
        od;
        m++
    :: else -> break
    od
}

/* skip_uids(): Dovecot remembers how far it had come. */
inline skip_uids()
{
    m = 0;
    do
    :: m < MESSAGES ->
        if :: claim[m] >= highest_next[me] && claim[m] != 0 -> highest_next[me] = claim[m] + 1
        :: else fi;
        m++
    :: else -> break
    od
}

/* claims_move_to_cur(), of each message that is claimed and still in `new`. */
#ifdef MUTANT_LEAVE_IN_NEW
#define MOVE_CLAIMED_TO_CUR skip
#else
#define IS_TO_MOVE(m) (claim[m] != 0 && file[m] == NEW)
#define MOVE_CLAIMED_TO_CUR                                                                        \
    do                                                                                             \
    :: STEP(added && (IS_TO_MOVE(0) || IS_TO_MOVE(MESSAGES - 1)) ->                                \
            m = (IS_TO_MOVE(0) -> 0 : MESSAGES - 1); file[m] = CUR)                                \
    :: SURE(!(added && (IS_TO_MOVE(0) || IS_TO_MOVE(MESSAGES - 1))) -> added = false) -> break     \
    od
#endif

/* Between two requests of Dovecot: the housekeeper, or somebody's look at the lock, finds it lost
 * (lose() in uidlist_lock.c). */
#define NOTICES_LOSS (mine[me] == 0 || !LOCK_IS_OURS)

hidden byte first_free;

proctype Node(byte me)
{
    byte uid[MESSAGES]; /* the uid database as read last */
    byte next;
    byte view[MESSAGES]; /* the list that Dovecot sees, frozen while it has the lock */
    byte view_next, first;
    byte claim[MESSAGES]; /* lines that Dovecot appends */
    bool changed, added;
    bool saves; /* APPEND or COPY, not new mail */
    bool left;  /* the lock to be removed is one that a process or a daemon of ours left */
#if MISSES > 0
    bool missed[MESSAGES];
#endif

idle:
    /* lock_create(): link(); EEXIST: lock_break_stale() reads and judges. */
#ifdef MUTANT_READ_BEFORE_LOCK
    STEP(read_database(me));
#endif
    if
    :: SURE(lock == 0 -> take_lock(me))
    :: SURE(lock != 0 && IS_STALE(lock, me) -> skip) -> goto break_lock
    fi;

    /* -- grant_prepare() in grant.c -- */
    /* sources_load(), raise_next() */
    STEP(
#ifndef MUTANT_READ_BEFORE_LOCK
        read_database(me);
#endif
        if
        :: highest_next[me] > next -> next = highest_next[me]; changed = true
        :: else
        fi );

    /* empty_new(), one by one. What is delivered afterwards stays, and Dovecot is not shown it; here it
     * may be (below). */
    do
    :: STEP(file[0] == NEW || file[MESSAGES - 1] == NEW ->
            m = (file[0] == NEW -> 0 : MESSAGES - 1); file[m] = CUR)
    :: file[0] != NEW && file[MESSAGES - 1] != NEW -> break
    od;

    /* complete_cur(): `cur` is listed; files without a UID get one, in Courier's order; when it
     * writes, lines of deleted ones go. */
    STEP(
        m = 0;
        do
        :: m < MESSAGES ->
            if :: file[m] == CUR && uid[m] == 0 -> uid[m] = next; next++; changed = true
            :: else fi;
            m++
        :: else -> break
        od;
        m = 0;
        do
        :: m < MESSAGES && changed -> if :: file[m] == GONE -> uid[m] = 0 :: else fi; m++
        :: else -> break
        od );
    if
    :: changed -> COMMIT(let_go); changed = false
    :: else
    fi;

    /* uidlist_present(); and Dovecot has the lock. */
    SURE(
        m = 0;
        do :: m < MESSAGES -> view[m] = uid[m]; m++ :: else -> break od;
        clear(uid);
        view_next = next;
        next = 0;
        first = view_next;
        if :: view_next > highest_next[me] -> highest_next[me] = view_next :: else fi );

dovecot:
    if
    /* New mail: it numbers from the list's next UID what it sees, not in Courier's order, so that a
     * mistake shows. What lies in `new` it would move, but in a mailbox opened with EXAMINE it
     * does not. With nothing to number it may still rewrite its list: all lines are claimed. */
    :: SURE(
        m = MESSAGES;
        do
        :: m > 0 ->
            m--;
            if
            :: IS_THERE(m) && view[m] == 0 -> claim[m] = view_next; view_next++
            :: else -> claim[m] = view[m]
            fi
        :: else -> break
        od )

#if MISSES > 0
    /* Its listing misses a message; it expunges that, finds it again, and gives it a new UID. */
    :: SURE(misses < MISSES && file[0] == CUR && view[0] != 0 ->
            misses++; missed[0] = true; claim[0] = view_next; view_next++)
#endif

    /* APPEND, COPY: rename() from `tmp`, one by one (arrivals_note()) ... */
    :: file[0] == NOWHERE || file[MESSAGES - 1] == NOWHERE ->
        saves = true;
        do
        :: STEP(file[0] == NOWHERE && claim[MESSAGES - 1] == 0 ->
                file[0] = CUR; claim[0] = view_next; view_next++)
        :: STEP(file[MESSAGES - 1] == NOWHERE ->
                file[MESSAGES - 1] = CUR; claim[MESSAGES - 1] = view_next; view_next++)
        :: claim[0] != 0 || claim[MESSAGES - 1] != 0 ||
           (file[0] != NOWHERE && file[MESSAGES - 1] != NOWHERE) -> break
        od;

        /* ... and fsync of the directory: arrivals_record() in arrivals.c. */
        if
        :: mine[me] != 0 -> RECORD(let_go)
#ifdef MUTANT_LOSS_FORGOTTEN
        :: STEP(NOTICES_LOSS -> mine[me] = 0)
#else
        :: STEP(NOTICES_LOSS -> mine[me] = 0); goto let_go
#endif
        fi;
#ifdef ORDER_MISJUDGED
        /* Dovecot numbers them otherwise. */
        SURE(
            if
            :: claim[0] != 0 && claim[MESSAGES - 1] != 0 ->
                m = claim[0]; claim[0] = claim[MESSAGES - 1]; claim[MESSAGES - 1] = m
            :: else
            fi )
#endif
    fi;

#ifdef MUTANT_TELL_BEFORE_RECORD
    STEP(
        m = 0;
        do
        :: m < MESSAGES ->
            tell_claim(m);
            m++
        :: else -> break
        od );
#endif

    /* -- fdatasync of the list: uidlist_record_pending() in record.c. When it fails new mail is told
     *    to nobody; of saved messages Dovecot logs the error and tells the UIDs all the same. -- */
    if
    :: mine[me] != 0 -> RECORD(not_recorded)
    :: STEP(NOTICES_LOSS -> mine[me] = 0); goto not_recorded
    fi;
    goto tell_clients;

not_recorded:
    if
    :: SURE(!saves -> skip_uids()) -> goto let_go
    :: SURE(saves -> skip_uids())
    fi;

tell_clients:
    STEP(
        m = 0;
        do
        :: m < MESSAGES ->
            tell_claim(m);
            if :: claim[m] != 0 -> view[m] = claim[m] :: else fi;
            if :: claim[m] >= highest_next[me] -> highest_next[me] = claim[m] + 1 :: else fi;
            claim[m] = 0;
            uid[m] = 0;
            m++
        :: else -> break
        od;
        next = 0;
        
        changed = false;
        added = false;
        saves = false );

    /* -- Between two requests Dovecot may do more under the same lock, unlock, or be killed. -- */
    if
    :: mine[me] != 0 -> goto dovecot
    :: goto let_go
#if CRASHES > 0
    :: SURE(mine[me] != 0 && crashes < CRASHES -> crashes++; end_process(me); forget_work(me);
            left = true) -> goto break_lock
#endif
    fi;

    /* -- let_go() in uidlist_lock.c, lock_release() of the lock of a process that lives -- */
let_go:
#if defined(MUTANT_RELEASE_BY_NAME)
    STEP(forget_work(me); unlink_lock());
    goto idle;
#elif defined(QUICK_RELEASE)
    STEP(
        if :: LOCK_IS_OURS -> lock = 0 :: else fi;
        forget_work(me);
        free_inodes() );
    goto idle;
#else
    if
    :: STEP(mine[me] == 0 || !LOCK_IS_OURS -> forget_work(me)); goto idle
    :: STEP(mine[me] != 0 && LOCK_IS_OURS -> skip)
    fi;
    STEP(forget_work(me); unlink_lock());
    goto idle;
#endif

    /* -- A lock is broken: a stale one, or with `left` the one of a process or a daemon of ours that
     *    died, which others may be breaking at the same time. lock_break_stale(), lock_break_left().
     *    Others may break the same lock, and a third take the next one. So it is not moved or
     *    unlinked as it is, but made a living one first: opened; locked with fcntl, which keeps
     *    other courierfs away; judged; the daemon written into it. Then nobody breaks it but us. -- */
break_lock:
#if defined(MUTANT_BREAK_BY_NAME)
    STEP(left = false; unlink_lock());
    goto idle;
#elif defined(MUTANT_BREAK_ASIDE)
    if
    :: STEP(lock == 0 -> left = false); goto idle
    :: STEP(lock != 0 -> left = false; opened[me] = lock; lock = 0)
    fi;
    STEP(
        if
        :: !IS_STALE(opened[me], me) && lock == 0 -> lock = opened[me]
        :: else
        fi;
        opened[me] = 0;
        free_inodes() );
    goto idle;
#else
    if
    :: STEP(lock == 0 -> left = false); goto idle
    :: STEP(lock != 0 -> opened[me] = lock)
    fi;
#ifdef MUTANT_NO_FCNTL
#define OTHER_BREAKS false
#else
#define OTHER_BREAKS (excludes[OTHER_NODE(me)] && opened[OTHER_NODE(me)] == opened[me])
#endif
#define IS_TO_BREAK                                                                                \
    (!OTHER_BREAKS &&                                                                              \
     (left -> owner[opened[me]] % DEAD == me : IS_STALE(opened[me], me)))
    if
    :: STEP(!IS_TO_BREAK -> left = false; opened[me] = 0; free_inodes()); goto idle
    :: STEP(IS_TO_BREAK -> left = false; excludes[me] = true)
    fi;
#ifndef MUTANT_BREAK_UNMARKED
    STEP(count_steal(opened[me]); owner[opened[me]] = DAEMON(me));
#endif
    if
    :: STEP(lock != opened[me] -> opened[me] = 0; excludes[me] = false; free_inodes()); goto idle
    :: STEP(lock == opened[me] -> skip)
    fi;
    STEP(opened[me] = 0; excludes[me] = false; unlink_lock());
    goto idle;
#endif

#if CRASHES > 0
    /* -- Without a daemon, until the next one: release_left_lock() in bridge.c. -- */
died:
    if
    :: SURE(lock == 0 || owner[lock] % DEAD != me -> end_process(me)); goto idle
    :: SURE(lock != 0 && owner[lock] == me -> end_process(me)); goto died
    :: SURE(lock != 0 && owner[lock] % DEAD == me -> left = true); goto break_lock
    fi
#endif
}

/* ---- everybody else -------------------------------------------------------------------------- */

proctype Message(byte me)
{
    do
    :: SURE(file[me] == NOWHERE -> file[me] = NEW)
    :: SURE(file[me] == NEW -> file[me] = CUR)
    :: SURE(file[me] == CUR && told[me] != 0 && deletions < DELETIONS ->
            deletions++; file[me] = GONE)
    od
}

init
{
    atomic {
#if NODES >= 1
        run Node(1);
#endif
#if NODES >= 2
        run Node(2);
#endif
#if COURIERS >= 1
        run Courier(3);
#endif
#if COURIERS >= 2
        run Courier(4);
#endif
        i = 0;
        do :: i < MESSAGES -> run Message(i); i++ :: else -> break od
    }
}
