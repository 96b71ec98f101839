#include "courier/config.h"

#include <string.h>

static struct span without_blanks(struct span s)
{
    while (s.len > 0 && (s.text[0] == ' ' || s.text[0] == '\t'))
        s = span_make(s.text + 1, s.len - 1);
    while (s.len > 0 &&
           (s.text[s.len - 1] == ' ' || s.text[s.len - 1] == '\t' || s.text[s.len - 1] == '\r'))
        s.len--;
    return s;
}

static bool has_any(struct span s, const char *bytes)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.text[i] == '\0' || strchr(bytes, s.text[i]) != NULL)
            return true;
    }
    return false;
}

/* A word in quotes, or one that needs none; a comment may follow. */
static bool read_value(struct span text, struct span *value_r)
{
    struct span rest = span_make(NULL, 0);
    char quote = text.len > 0 ? text.text[0] : '\0';
    if (quote == '"' || quote == '\'') {
        struct span inner = span_make(text.text + 1, text.len - 1);
        *value_r = span_until(inner, quote, &rest);
        if (value_r->len == inner.len || (quote == '"' && has_any(*value_r, "$`\\")))
            return false;
    } else {
        size_t len = 0;
        while (len < text.len && text.text[len] != ' ' && text.text[len] != '\t')
            len++;
        *value_r = span_make(text.text, len);
        rest = span_make(text.text + len, text.len - len);
        if (has_any(*value_r, "$`\\\"';&|<>()"))
            return false;
    }
    rest = without_blanks(rest);
    return rest.len == 0 || rest.text[0] == '#';
}

/* LINE begins with NAME and '='; the value is what follows. */
static bool cut_name(struct span line, const char *name, struct span *value_r)
{
    size_t len = strlen(name);
    if (!span_starts(line, name) || line.len == len || line.text[len] != '=')
        return false;
    *value_r = span_make(line.text + len + 1, line.len - len - 1);
    return true;
}

enum config_setting config_find(struct span text, const char *name, struct span *value_r)
{
    enum config_setting found = CONFIG_UNSET;
    struct span line, value;
    bool complete;
    while (span_next_line(&text, &line, &complete)) {
        line = without_blanks(line);
        if (span_starts(line, "export "))
            line = without_blanks(span_make(line.text + 7, line.len - 7));
        if (!cut_name(line, name, &value))
            continue;
        found = read_value(value, value_r) ? CONFIG_SET : CONFIG_UNCLEAR;
        if (found == CONFIG_UNCLEAR)
            *value_r = line;
    }
    return found;
}
