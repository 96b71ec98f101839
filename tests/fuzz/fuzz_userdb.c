#include "fuzz.h"

#include "bridge/mail_user.h"

/* Whatever stands in the file: each account becomes one line whose columns are Dovecot's, or none. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size), rest = text;
    struct userdb_account account;
    unsigned line = 0;
    const struct mail_user_settings settings = {.service =
                                                    size % 2 == 0 ? MAIL_USER_IMAP : MAIL_USER_POP3,
                                                .prefer_cram_md5 = size % 3 == 0};
    while (userdb_next(&rest, &line, NULL, &account)) {
        FUZZ_REQUIRE(account.name.len > 0 && fuzz_within(account.name, text));
        BUF_AUTO out = BUF_EMPTY;
        if (mail_user_to_dovecot(&settings, &account, account.fields, NULL, &out) != 0) {
            FUZZ_REQUIRE(out.len == 0);
            continue;
        }
        struct span lines = buf_span(&out), made;
        size_t columns = 0, count = 0;
        bool complete;
        while (span_next_line(&lines, &made, &complete)) {
            FUZZ_REQUIRE(complete);
            if (made.text[0] == '#')
                continue;
            count++;
            for (struct span left = made; left.len > 0; span_until(left, ':', &left))
                columns++;
            FUZZ_REQUIRE(span_equal(span_until(made, ':', NULL), account.name));
        }
        FUZZ_REQUIRE(count <= 1 && (count == 0 || columns >= 6));
    }
    return 0;
}
