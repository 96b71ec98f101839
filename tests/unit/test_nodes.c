/* The table of nodes: who is who after what others did to the files. */
#include "testing.h"

#include "fuse/nodes.h"

#define DEVICE 7

static struct node_table *table;
static struct node *root;
static struct node *mailbox;
static struct node *cur;
static struct node *new;

static struct stat a_dir(ino_t inode)
{
    return (struct stat){.st_dev = DEVICE, .st_ino = inode, .st_mode = S_IFDIR | 0700};
}

static struct stat a_file(ino_t inode)
{
    return (struct stat){.st_dev = DEVICE, .st_ino = inode, .st_mode = S_IFREG | 0600};
}

static struct node *get(struct node *parent, const char *name, struct stat st)
{
    struct node *node = node_get(table, parent, span_of(name), &st);
    assert_non_null(node);
    return node;
}

static void has_path(struct node *node, const char *path)
{
    char found[PATH_MAX];
    assert_int_equal(node_path(table, node, found), 0);
    assert_string_equal(found, path);
}

static void has_no_path(struct node *node)
{
    char found[PATH_MAX];
    assert_int_equal(node_path(table, node, found), -ESTALE);
}

static void move(struct node *from_dir, const char *from, struct node *to_dir, const char *to)
{
    node_moved(table, from_dir, span_of(from), to_dir, span_of(to), false);
}

static void begin(bool has_inboxes)
{
    struct stat st = a_dir(2);
    table = node_table_new(&st, has_inboxes);
    root = node_table_root(table);
    mailbox = get(root, "Maildir", a_dir(10));
}

static int set_up(void **state)
{
    (void)state;
    begin(false);
    cur = get(mailbox, "cur", a_dir(11));
    new = get(mailbox, "new", a_dir(12));
    return 0;
}

static int set_up_with_inboxes(void **state)
{
    (void)state;
    begin(true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    node_table_free(table);
    return 0;
}

static void makes_paths(void **state)
{
    (void)state;
    has_path(root, ".");
    has_path(mailbox, "Maildir");
    has_path(get(cur, "1.a:2,S", a_file(20)), "Maildir/cur/1.a:2,S");
}

static void knows_a_file_by_its_inode(void **state)
{
    (void)state;
    struct node *node = get(mailbox, "file", a_file(20));
    assert_ptr_equal(get(mailbox, "file", a_file(20)), node);
    assert_ptr_equal(get(mailbox, "other name", a_file(20)), node);
    has_path(node, "Maildir/other name");
    assert_ptr_not_equal(get(mailbox, "file", a_file(21)), node);
    /* The number was used again, for another kind of file. */
    assert_ptr_not_equal(get(mailbox, "file", a_dir(20)), node);
}

static void tells_messages_with_one_inode_number_apart(void **state)
{
    (void)state;
    struct node *node = get(cur, "1.a:2,", a_file(20));
    assert_ptr_equal(get(cur, "1.a:2,S", a_file(20)), node);
    has_path(node, "Maildir/cur/1.a:2,S");
    assert_ptr_not_equal(get(cur, "2.b:2,", a_file(20)), node);
    /* Courier moved it from new. */
    struct node *fresh = get(new, "3.c", a_file(21));
    assert_ptr_equal(get(cur, "3.c:2,", a_file(21)), fresh);
    has_path(fresh, "Maildir/cur/3.c:2,");
}

static void keeps_copies_in_two_mailboxes_apart(void **state)
{
    (void)state;
    struct node *sent = get(mailbox, ".Sent", a_dir(30));
    struct node *sent_cur = get(sent, "cur", a_dir(31));
    struct node *one = get(cur, "1.a:2,", a_file(20));
    struct node *two = get(sent_cur, "1.a:2,S", a_file(20));
    assert_ptr_not_equal(one, two);
    has_path(one, "Maildir/cur/1.a:2,");
    has_path(two, "Maildir/.Sent/cur/1.a:2,S");
}

static void a_maildir_can_be_its_own_inbox(void **state)
{
    (void)state;
    struct node *inbox = get(mailbox, ".INBOX", a_dir(10));
    assert_ptr_not_equal(inbox, mailbox);
    assert_ptr_equal(get(mailbox, ".INBOX", a_dir(10)), inbox);
    assert_ptr_equal(get(root, "Maildir", a_dir(10)), mailbox);
    assert_int_equal(inbox->role, ROLE_INBOX);
    has_path(inbox, "Maildir");
    has_path(get(inbox, "file", a_file(20)), "Maildir/file");
    /* Renamed by somebody else. */
    assert_ptr_equal(get(root, "Other", a_dir(10)), mailbox);
    has_path(inbox, "Other");
    /* The store may be one maildir. */
    struct node *own = get(root, ".INBOX", a_dir(2));
    assert_ptr_not_equal(own, root);
    has_path(own, ".");
    has_path(get(own, "file", a_file(21)), "file");
}

static void gives_one_name_to_one_node(void **state)
{
    (void)state;
    struct node *old = get(mailbox, "file", a_file(20));
    struct node *replacement = get(mailbox, "file", a_file(21));
    has_no_path(old);
    has_path(replacement, "Maildir/file");
    /* In cur the flags do not make another name. */
    struct node *gone = get(cur, "1.a:2,", a_file(22));
    has_path(get(cur, "1.a:2,S", a_file(23)), "Maildir/cur/1.a:2,S");
    has_no_path(gone);
}

static void moves_with_a_rename(void **state)
{
    (void)state;
    struct node *node = get(new, "1.a", a_file(20));
    struct node *victim = get(cur, "1.a:2,", a_file(21));
    move(new, "1.a", cur, "1.a:2,S");
    has_path(node, "Maildir/cur/1.a:2,S");
    has_no_path(victim);
    /* The name on the mount may carry letters that the store's has not. */
    move(cur, "1.a:2,Sab", cur, "1.a:2,RS");
    has_path(node, "Maildir/cur/1.a:2,RS");
    assert_ptr_equal(get(cur, "1.a:2,RS", a_file(20)), node);
    /* What is below a directory goes with it. */
    move(root, "Maildir", root, "Elsewhere");
    has_path(node, "Elsewhere/cur/1.a:2,RS");
    assert_int_equal(node->role, ROLE_MESSAGE);
}

static void exchanges(void **state)
{
    (void)state;
    struct node *a = get(mailbox, "a", a_file(20));
    struct node *b = get(root, "b", a_file(21));
    node_moved(table, mailbox, span_of("a"), root, span_of("b"), true);
    has_path(a, "b");
    has_path(b, "Maildir/a");
}

static void refuses_a_directory_below_itself(void **state)
{
    (void)state;
    get(cur, "inside", a_dir(10));
    has_path(cur, "Maildir/cur");
    get(cur, "root", a_dir(2));
    has_path(root, ".");
}

static void roles_follow_names(void **state)
{
    (void)state;
    assert_int_equal(cur->role, ROLE_CUR);
    assert_int_equal(new->role, ROLE_NEW);
    assert_int_equal(get(mailbox, "tmp", a_dir(13))->role, ROLE_TMP);
    assert_int_equal(get(mailbox, "file", a_file(20))->role, ROLE_FILE);
    move(mailbox, "cur", mailbox, "old");
    assert_int_equal(cur->role, ROLE_DIR);
}

static void forgets(void **state)
{
    (void)state;
    size_t before = node_table_count(table);
    struct node *dir = get(root, "dir", a_dir(40));
    struct node *file = get(dir, "file", a_file(41));
    get(dir, "file", a_file(41));
    assert_int_equal(node_table_count(table), before + 2);
    node_unref(table, dir, 1);
    has_path(file, "dir/file"); /* the child keeps its directory */
    node_unref(table, file, 2);
    assert_int_equal(node_table_count(table), before);
    /* Without a name as well. */
    file = get(mailbox, "file", a_file(42));
    node_removed(table, mailbox, span_of("file"));
    has_no_path(file);
    assert_null(node_find(table, mailbox, span_of("file")));
    node_unref(table, file, 1);
    assert_int_equal(node_table_count(table), before);
}

static void holds_open_files(void **state)
{
    (void)state;
    size_t before = node_table_count(table);
    struct node *node = get(mailbox, "file", a_file(50));
    assert_null(open_file_of(table, node));
    struct open_file *file = calloc(1, sizeof(*file));
    file->fd = -1;
    open_file_enter(table, node, file);
    node_unref(table, node, 1);
    struct open_file *same = open_file_of(table, node);
    assert_ptr_equal(same, file);
    open_file_close(table, file);
    assert_int_equal(node_table_count(table), before);
    open_file_unref(same);
}

static void grows(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    static struct node *nodes[MANY];
    char name[32];
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "%d.x:2,", i);
        nodes[i] = get(cur, name, a_file((ino_t)(1000 + i)));
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "%d.x:2,S", i);
        assert_ptr_equal(get(cur, name, a_file((ino_t)(1000 + i))), nodes[i]);
        node_unref(table, nodes[i], 2);
    }
    assert_int_equal(node_table_count(table), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_paths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(knows_a_file_by_its_inode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_messages_with_one_inode_number_apart, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(keeps_copies_in_two_mailboxes_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_maildir_can_be_its_own_inbox, set_up_with_inboxes,
                                        tear_down),
        cmocka_unit_test_setup_teardown(gives_one_name_to_one_node, set_up, tear_down),
        cmocka_unit_test_setup_teardown(moves_with_a_rename, set_up, tear_down),
        cmocka_unit_test_setup_teardown(exchanges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_a_directory_below_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(roles_follow_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(holds_open_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(grows, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
