/* Two Dovecot nodes and two Couriers on one mailbox: who may name which message by which UID.
 *
 * The question. Courier keeps the mailbox's UIDs in courierimapuiddb, replaces that file under the
 * lock tmp/courier.lock, and believes whatever the file says. courierfs (fs/store/lock.c,
 * fs/bridge/grant.c, fs/bridge/record.c) takes part in this on behalf of Dovecot. Spin walks
 * through every order in which their steps can follow each other, with a crash before any step,
 * and looks for one in which
 *
 *   (1) a UID that some client was told names another message later, or a message two UIDs;
 *   (4) a message that clients know is missing from the uid database although its file is there,
 *       or is there twice;
 *   (L) a lock that nobody holds names a living process, so that nobody may ever break it.
 *
 * What stands for what.
 *
 *   Node          one Dovecot process and the courierfs it works through. A process that waits for
 *                 an answer of the mount cannot do anything else, so the two are one sequence.
 *   Courier       one imapd: scans the mailbox again and again, told in courier's words by step.
 *   Message       what befalls one message without any lock: it is delivered into `new`; a
 *                 courierpop3d moves it to `cur`; a client deletes it (Courier unlinks without the
 *                 lock).
 *   file[]        where each message's file is. A base name never changes, flags do not matter.
 *   db_uid, db_next   the lines and NEXTUID. The file's identity (inode, times) is not a number,
 *                 which would grow for ever, but one bit for each reader: `same` says whether it is
 *                 still the file that this one read. Reading is one step, as is rename: both act on
 *                 one inode.
 *   lock          the inode that is called tmp/courier.lock; 0 = there is none. owner[] is what is
 *                 written in it: the process, and whether that is dead by now.
 *   told[]        what clients know: the UID of each message, for ever. Dovecot sessions read the
 *                 list without any lock; so what is in the uid database counts as told at once.
 *
 * One STEP is what others cannot come between: one system call on the store, and whatever the
 * process computes for itself around it. A check and the action that relies on it are two steps.
 * Listing a directory is one step here (see README.md for what that leaves out).
 *
 * Time. A lock of this host is stale when its pid is dead. One of another host is stale when it is
 * 120 seconds old; a dead holder's lock gets that old, so "dead" is enough for both. With SLOW a
 * living holder's can be judged old, too, by the other host: 1 = a node's only, 2 = anybody's.
 *
 * Crashes, CRASHES in all. Of a Courier: the process, at any step. Of a node: the daemon, at any
 * step (the lock stays, with a pid that lives), and with it or some time later the process (the pid
 * is dead then; a machine that crashes is both at once); or Dovecot's process alone, which can only
 * happen between two requests, because the kernel keeps a killed process until the file system has
 * answered. After each the actor begins anew; a new daemon first releases the lock that the state
 * directory has a note of.
 *
 * Switches. Each is a claim that can be taken away, to see what rests on it.
 *
 *   COURIER_QUICK   what Courier does about a stale lock (read it, unlink the name, unlink it once
 *                   more) takes no time. Without it these are three steps, as they are.
 *   COURIER_CHECKS  a Courier that does not exist. It replaces the uid database only when (1) it still
 *                   has the lock or (2) the uid database is still the file that it read. Only to
 *                   tell our holes from Courier's.
 *   QUICK_COMMIT, QUICK_RELEASE, QUICK_BREAK
 *                   the same of courierfs: check and rename of the uid database; check and unlink
 *                   of its own lock; judging and moving away a stale one.
 *   BREAK           how courierfs breaks a stale lock: ASIDE (as store/lock.c does: rename it, judge
 *                   again, link it back), ADOPT (a proposal, see the step), BY_NAME (as Courier).
 *   REFUSAL_FAILS   Dovecot is told when a UID it gave out was refused (record.c tells it nothing).
 *   BUG_...         faults put in on purpose: each must be found.
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
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef SLOW
#define SLOW 0
#endif
#ifndef COURIER_CHECKS
#define COURIER_CHECKS 0
#endif
#ifndef DELETIONS
#define DELETIONS 1
#endif

#define ASIDE 1
#define ADOPT 2
#define BY_NAME 3
#ifndef BREAK
#define BREAK ASIDE
#endif

/* ---- the store ------------------------------------------------------------------------------- */

#define NOWHERE 0 /* not delivered yet */
#define NEW 1
#define CUR 2
#define GONE 3 /* deleted by a client */
#define IS_THERE(m) (file[m] == NEW || file[m] == CUR)

#define ACTORS 4 /* 1, 2: nodes; 3, 4: Couriers; odd ones on one host, even ones on the other */
#define IS_NODE(actor) (actor <= 2)
#define HOST(actor) (actor % 2)
#define DEAD 8 /* added to an owner whose process is gone */
#define UID_LIMIT 12
#define INODES 7

byte file[MESSAGES];
byte db_uid[MESSAGES]; /* 0 = no line */
byte db_next = 1;
byte lock;
byte owner[INODES + 1];

byte told[MESSAGES];

bool same[ACTORS + 1]; /* the uid database is still the file that this actor read */
byte mine[ACTORS + 1]; /* the lock that it holds, or believes to hold */
byte aside[ACTORS + 1]; /* another's lock that it has renamed, or has open to adopt it */
bool noted[3]; /* a daemon died, and the next one has not released its lock yet */
byte crashes;
byte deletions;

hidden byte i, m, spare, found;

/* ---- what must hold -------------------------------------------------------------------------- */

inline tell(message, uid)
{
    assert(told[message] == 0 || told[message] == uid); /* (1) a message has one UID */
    found = 0;
    do
    :: found < MESSAGES ->
        assert(found == message || told[found] != uid); /* (1) a UID names one message */
        found++
    :: else -> break
    od;
    told[message] = uid
}

/* Every new uid database, whoever made it: (4). */
inline check_database()
{
    i = 0;
    do
    :: i < MESSAGES ->
        assert(db_uid[i] < db_next && db_next < UID_LIMIT);
        assert(!IS_THERE(i) || told[i] == 0 || db_uid[i] == told[i]);
        found = 0;
        do
        :: found < i -> assert(db_uid[i] == 0 || db_uid[found] != db_uid[i]); found++
        :: else -> break
        od;
        i++
    :: else -> break
    od
}

/* ---- steps that both servers know ------------------------------------------------------------ */

/* What others cannot come between; "skip" is only there for spin, which wants a last statement. */
#define SURE(...) d_step { __VA_ARGS__; skip }

/* The same, and the actor can die before it. */
#if CRASHES > 0
#define STEP(...)                                                                                  \
    if                                                                                             \
    :: SURE(__VA_ARGS__)                                                                     \
    :: SURE(crashes < CRASHES -> crashes++; die(me)) -> goto died                             \
    fi
#else
#define STEP(...) if :: SURE(__VA_ARGS__) fi
#endif

/* Owners of inodes that nobody can reach any more do not matter: fewer states. */
inline forget_unreachable()
{
    i = 1;
    do
    :: i <= INODES ->
        if
        :: lock != i && mine[1] != i && mine[2] != i && mine[3] != i && mine[4] != i &&
           aside[1] != i && aside[2] != i -> owner[i] = 0
        :: else
        fi;
        i++
    :: else -> break
    od
}

inline disown(actor)
{
    i = 1;
    do
    :: i <= INODES -> if :: owner[i] == actor -> owner[i] = actor + DEAD :: else fi; i++
    :: else -> break
    od
}

#define clear(array) m = 0; do :: m < MESSAGES -> array[m] = 0; m++ :: else -> break od

/* A crash: what a program knew is gone. Its pid is dead at once (Courier) or later (node). */
#define die(actor)                                                                                 \
    if :: IS_NODE(actor) -> noted[actor] = true :: else -> disown(actor) fi;                        \
    aside[actor] = 0;                                                                              \
    forget_work(actor)

/* Unique file, link() onto the name, link count: link() decides, all else is nobody's business. */
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
    forget_unreachable()
}

#define IS_ALIVE(inode) (owner[inode] != 0 && owner[inode] < DEAD)

/* Courier's rule, and ours. A Courier takes a lock with its own pid for stale, too. */
#define IS_OLD(inode, actor) \
    (SLOW > 0 && IS_ALIVE(inode) && HOST(owner[inode]) != HOST(actor) && \
     (SLOW == 2 || IS_NODE(owner[inode])))
#define IS_STALE(inode, actor) \
    (owner[inode] >= DEAD || IS_OLD(inode, actor) || (!IS_NODE(actor) && owner[inode] == actor))

inline read_database(actor)
{
    m = 0;
    do :: m < MESSAGES -> uid[m] = db_uid[m]; m++ :: else -> break od;
    next = db_next;
    same[actor] = IS_NODE(actor) || COURIER_CHECKS == 2
}

inline rename_database(actor)
{
    m = 0;
    do :: m < MESSAGES -> db_uid[m] = uid[m]; m++ :: else -> break od;
    db_next = next;
    i = 1;
    do :: i <= ACTORS -> same[i] = false; i++ :: else -> break od;
    check_database();
    m = 0;
    do :: m < MESSAGES -> if :: IS_THERE(m) && uid[m] != 0 -> tell(m, uid[m]) :: else fi; m++
    :: else -> break
    od
}

/* ---- Courier's imapd ------------------------------------------------------------------------- */

#define forget_work(actor)                                                                         \
    mine[actor] = 0; same[actor] = false; changed = false; next = 0; clear(uid); clear(seen);      \
    forget_unreachable()

#if COURIER_CHECKS > 0
#define MAY_RENAME(actor) (COURIER_CHECKS == 1 -> mine[actor] == lock : same[actor])
#endif

proctype Courier(byte me)
{
    byte uid[MESSAGES]; /* the uid database in memory */
    byte next;
    bool seen[MESSAGES];
    bool changed;

asleep:
    if
    :: SURE( lock == 0 -> take_lock(me) )
#ifdef COURIER_QUICK
    :: SURE( lock != 0 && IS_STALE(lock, me) -> unlink_lock() ) -> goto asleep
#else
    :: SURE( lock != 0 && IS_STALE(lock, me) -> skip ) ->
        STEP( unlink_lock() );
        STEP( unlink_lock() ); /* again, whatever it is by now */
        goto asleep
#endif
    fi;

    STEP( read_database(me) );

    /* `cur` is listed: a line without a file goes, a file without a line will get one. */
    STEP(
        m = 0;
        do
        :: m < MESSAGES ->
            seen[m] = (file[m] == CUR);
            if
            :: seen[m] && uid[m] == 0 -> changed = true
            :: !seen[m] && uid[m] != 0 -> changed = true; uid[m] = 0
            :: else
            fi;
            m++
        :: else -> break
        od );

    /* `new` is listed and moved to `cur`; then the new UIDs, in the order of the names. */
    STEP(
        m = 0;
        do
        :: m < MESSAGES ->
            if
            :: file[m] == NEW -> file[m] = CUR; seen[m] = true; uid[m] = 0; changed = true
            :: else
            fi;
            if
            :: seen[m] && uid[m] == 0 -> uid[m] = next; next++
            :: else
            fi;
            seen[m] = false;
            m++
        :: else -> break
        od );

    /* What it tells its client is what the uid database said when it read or replaced it. */
    if
    :: !changed -> skip
#if COURIER_CHECKS > 0
    :: SURE( changed && !MAY_RENAME(me) -> changed = false )
    :: STEP( changed && MAY_RENAME(me) -> rename_database(me) )
#else
    :: STEP( changed -> rename_database(me) )
#endif
    fi;

    STEP( lock = 0; forget_work(me) ); /* by name, without a look */
    goto asleep;

#if CRASHES > 0
died:
    goto asleep
#endif
}

/* ---- a node: Dovecot and courierfs ----------------------------------------------------------- */

#ifdef BUG_NO_LOCK_CHECK
#define LOCK_IS_OURS true
#else
/* The same inode; when locks can be adopted, also the same content. */
#define LOCK_IS_OURS (lock == mine[me] && lock != 0 && (BREAK != ADOPT || owner[lock] == me))
#endif
#ifdef BUG_NO_DATABASE_CHECK
#define DATABASE_IS_SAME true
#else
#define DATABASE_IS_SAME same[me]
#endif

/* check_before_commit() and the rename: two looks and the act. */
#ifdef QUICK_COMMIT
#define COMMIT(on_failure)                                                                         \
    if                                                                                             \
    :: STEP( !(LOCK_IS_OURS && DATABASE_IS_SAME) -> skip ); goto on_failure                        \
    :: STEP( LOCK_IS_OURS && DATABASE_IS_SAME -> rename_database(me) )                             \
    fi
#else
#define COMMIT(on_failure)                                                                         \
    if                                                                                             \
    :: STEP( !LOCK_IS_OURS -> skip ); goto on_failure                                              \
    :: STEP( LOCK_IS_OURS -> skip )                                                                \
    fi;                                                                                            \
    if                                                                                             \
    :: STEP( !DATABASE_IS_SAME -> skip ); goto on_failure                                          \
    :: STEP( DATABASE_IS_SAME -> skip )                                                            \
    fi;                                                                                            \
    STEP( rename_database(me) )
#endif

#ifdef BUG_LEAVE_IN_NEW
#define MOVE_TO_CUR(message) skip
#else
#define MOVE_TO_CUR(message) if :: file[message] == NEW -> file[message] = CUR :: else fi
#endif

/* Every claim against the uid database, and the move to `cur` before it is recorded. */
inline merge_claims()
{
    first_free = next;
    m = 0;
    do
    :: m < MESSAGES ->
        if
        :: claim[m] == 0 || claim[m] == uid[m] -> skip
        :: claim[m] != 0 && claim[m] != uid[m] && claim[m] < first_free -> refused = true
        :: else ->
            uid[m] = claim[m]; /* a new line, or one that moves to another UID */
            changed = true;
            MOVE_TO_CUR(m);
            if :: claim[m] >= next -> next = claim[m] + 1 :: else fi
        fi;
        m++
    :: else -> break
    od
}

#undef forget_work
#define forget_work(actor)                                                                         \
    mine[actor] = 0; same[actor] = false; changed = false; refused = false; next = 0; clear(uid);  \
    clear(claim); forget_unreachable()

hidden byte first_free;

proctype Node(byte me)
{
    byte uid[MESSAGES]; /* the uid database as read last; between requests: the frozen view */
    byte next;
    byte claim[MESSAGES]; /* lines that Dovecot appended */
    bool changed, refused;

idle:
    if
    :: SURE( lock == 0 -> take_lock(me) )
    :: SURE( lock != 0 && IS_STALE(lock, me) -> skip ) -> goto break_stale
    fi;

    /* -- the grant: prepare() in grant.c -- */
    STEP( read_database(me) );

    /* What has a line is moved from `new` to `cur`. (For POP3 all of it is: Message does that.)
     * Files of `cur` without a UID get one, in Courier's order; lines of deleted ones may go. */
    STEP(
        m = 0;
        do
        :: m < MESSAGES ->
            if
            :: file[m] == NEW && uid[m] != 0 -> file[m] = CUR
            :: file[m] == CUR && uid[m] == 0 -> uid[m] = next; next++; changed = true
            :: file[m] == GONE && uid[m] != 0 -> uid[m] = 0; changed = true
            :: else
            fi;
            m++
        :: else -> break
        od );
    if
    :: changed -> COMMIT(let_go); changed = false
    :: else
    fi;

    /* -- Dovecot has the lock. It tells what the list says, and appends lines for the rest, from
     *    the view's next UID on; not in Courier's order, so that a mistake shows. -- */
dovecot:
    STEP(
        m = MESSAGES;
        do
        :: m > 0 ->
            m--;
            if
            :: IS_THERE(m) && uid[m] == 0 -> claim[m] = next; next++
            :: else
            fi
        :: else -> break
        od );

#ifdef BUG_TELL_BEFORE_RECORD
    STEP(
        m = 0;
        do
        :: m < MESSAGES -> if :: claim[m] != 0 && IS_THERE(m) -> tell(m, claim[m]) :: else fi; m++
        :: else -> break
        od );
#endif

    /* -- fdatasync: uidlist_record_pending() in record.c -- */
    STEP( read_database(me); merge_claims() );
    if
    :: changed -> COMMIT(let_go); changed = false
    :: else
    fi;
#ifdef REFUSAL_FAILS
    if :: refused -> goto let_go :: else fi;
#endif

    /* -- Dovecot was told that it is written, and tells its client, refused or not -- */
    STEP(
        m = 0;
        do
        :: m < MESSAGES ->
            if
            :: IS_THERE(m) && claim[m] != 0 -> tell(m, claim[m])
            :: IS_THERE(m) && claim[m] == 0 && uid[m] != 0 -> tell(m, uid[m])
            :: else
            fi;
            claim[m] = 0;
            m++
        :: else -> break
        od;
        refused = false );

    /* -- Between two requests Dovecot may do more under the same lock, unlock, or be killed. -- */
    if
    :: goto dovecot
    :: goto let_go
#if CRASHES > 0
    :: SURE( crashes < CRASHES -> crashes++; disown(me) ) -> goto abandon
#endif
    fi;

    /* -- lock_release() of our own lock, whose process lives -- */
let_go:
#if defined(BUG_RELEASE_BY_NAME)
    STEP( lock = 0; forget_work(me) );
#elif defined(QUICK_RELEASE)
    STEP(
        if :: LOCK_IS_OURS -> lock = 0 :: else fi;
        forget_work(me) );
#else
    if
    :: STEP( !LOCK_IS_OURS -> forget_work(me) ); goto idle
    :: STEP( LOCK_IS_OURS -> skip )
    fi;
    STEP( lock = 0; forget_work(me) );
#endif
    goto idle;

    /* -- of a lock whose process died: others may break it at the same time -- */
#if CRASHES > 0
abandon:
#if BREAK == ADOPT
    if
    :: STEP( aside[3 - me] != mine[me] && owner[mine[me]] == me + DEAD ->
             aside[me] = mine[me]; forget_work(me) ); goto adopt
    :: STEP( aside[3 - me] == mine[me] || owner[mine[me]] != me + DEAD -> forget_work(me) );
       goto idle
    fi;
#elif defined(QUICK_BREAK)
    STEP(
        if :: lock == mine[me] -> lock = 0 :: else fi;
        forget_work(me) );
    goto idle;
#else
    if
    :: STEP( lock != mine[me] || lock == 0 -> forget_work(me) ); goto idle
    :: STEP( lock == mine[me] && lock != 0 -> skip )
    fi;
    STEP( lock = 0; forget_work(me) );
    goto idle;
#endif
#endif

    /* -- lock_break_stale(), after the first look -- */
break_stale:
#if BREAK == BY_NAME
    STEP( unlink_lock() );
    goto idle;
#elif BREAK == ASIDE && defined(QUICK_BREAK)
    STEP(
        if :: lock != 0 && IS_STALE(lock, me) -> unlink_lock() :: else fi );
    goto idle;
#elif BREAK == ASIDE
    if
    :: STEP( lock == 0 -> skip ); goto idle
    :: STEP( lock != 0 -> aside[me] = lock; lock = 0 )
    fi;
    STEP(
        if
        :: !IS_STALE(aside[me], me) && lock == 0 ->
            lock = aside[me];
            assert(mine[owner[lock]] == lock || (IS_NODE(owner[lock]) && noted[owner[lock]])) /* (L) */
        :: else
        fi;
        aside[me] = 0;
        forget_unreachable() );
    goto idle;
#else
    /* The proposal. Open the lock and fcntl-lock the open file, which keeps other courierfs away
     * and ends with the process; judge it once more through the descriptor; write PID:HOSTNAME of
     * the living daemon into it. From then on it is a living lock to everybody, and ours. If the
     * name still means it, unlink the name. A living lock is never touched, and the name is never
     * free while a living lock exists. */
    if
    :: STEP( lock == 0 || !IS_STALE(lock, me) || aside[3 - me] == lock -> skip ); goto idle
    :: STEP( lock != 0 && IS_STALE(lock, me) && aside[3 - me] != lock -> aside[me] = lock )
    fi;
adopt:
    STEP( owner[aside[me]] = me );
    if
    :: STEP( lock != aside[me] -> aside[me] = 0; forget_unreachable() ); goto idle
    :: STEP( lock == aside[me] -> skip )
    fi;
    STEP( aside[me] = 0; unlink_lock() );
    goto idle;
#endif

#if CRASHES > 0
    /* -- Without a daemon, until the next one: release_left_lock() in bridge.c. -- */
died:
    if
    :: SURE( lock == 0 || owner[lock] % DEAD != me -> noted[me] = false ); goto idle
    :: SURE( lock != 0 && owner[lock] == me -> disown(me) ); goto died /* Dovecot ends */
#if BREAK == ADOPT
    :: SURE( lock != 0 && owner[lock] % DEAD == me && aside[3 - me] != lock ->
                noted[me] = false; aside[me] = lock ); goto adopt
#elif defined(QUICK_BREAK)
    :: SURE( lock != 0 && owner[lock] % DEAD == me -> noted[me] = false; unlink_lock() );
       goto idle
#else
    :: SURE( lock != 0 && owner[lock] % DEAD == me -> noted[me] = false; aside[me] = lock )
#endif
    fi;
#if BREAK != ADOPT && !defined(QUICK_BREAK)
    if
    :: STEP( lock != aside[me] -> aside[me] = 0; forget_unreachable() ); goto idle
    :: STEP( lock == aside[me] -> skip )
    fi;
    STEP( aside[me] = 0; unlink_lock() );
#endif
    goto idle
#endif
}

/* ---- everybody else -------------------------------------------------------------------------- */

proctype Message(byte me)
{
    SURE( me == 0 || file[me - 1] != NOWHERE -> file[me] = NEW ); /* in order, to save states */
    do
    :: SURE( file[me] == NEW -> file[me] = CUR )
    :: SURE( file[me] == CUR && told[me] != 0 && deletions < DELETIONS ->
                deletions++; file[me] = GONE )
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
