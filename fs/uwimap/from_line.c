#include "uwimap/from_line.h"

#include <string.h>

#define WORDS_MAX 8
#define REMOTE " remote from "

static int find_name(struct span word, const char *names)
{
    if (word.len != 3)
        return -1;
    for (int i = 0; names[3 * i] != '\0'; i++) {
        if (span_compare_nocase(word, span_make(names + 3 * i, 3)) == 0)
            return i;
    }
    return -1;
}

static bool read_number(struct span word, size_t fewest, size_t most, int *value_r)
{
    uint64_t value;
    if (word.len < fewest || word.len > most || !span_to_u64(word, &value))
        return false;
    *value_r = (int)value;
    return true;
}

static bool read_time(struct span word, struct from_date *date)
{
    struct span minute, second;
    struct span hour = span_until(word, ':', &minute);
    minute = span_until(minute, ':', &second);
    date->second = 0;
    return read_number(hour, 1, 2, &date->hour) && date->hour < 24 &&
           read_number(minute, 2, 2, &date->minute) && date->minute < 60 &&
           (word.len < 6 || (read_number(second, 2, 2, &date->second) && date->second <= 60));
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Those that RFC 822 knows; other names say nothing that could be relied on. */
static int named_zone(struct span word)
{
    static const struct {
        const char *name;
        int hours;
    } zones[] = {{"UT", 0},   {"GMT", 0},  {"UTC", 0},  {"EST", -5}, {"EDT", -4}, {"CST", -6},
                 {"CDT", -5}, {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}};
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        if (span_equals(word, zones[i].name))
            return zones[i].hours * 60;
    }
    return FROM_NO_ZONE;
}

static bool read_zone(struct span word, int *zone)
{
    int number;
    if (word.len == 5 && (word.text[0] == '+' || word.text[0] == '-') &&
        read_number(span_make(word.text + 1, 4), 4, 4, &number)) {
        int minutes = number / 100 * 60 + number % 100;
        *zone = word.text[0] == '-' ? -minutes : minutes;
        return true;
    }
    if (word.len == 0 || word.len > 5)
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (!is_letter(word.text[i]))
            return false;
    }
    *zone = named_zone(word);
    return true;
}

/* The last words of LINE, in their order. */
static size_t last_words(struct span line, struct span words[WORDS_MAX])
{
    struct span found[WORDS_MAX];
    size_t count = 0, end = line.len;
    while (count < WORDS_MAX) {
        while (end > 0 && line.text[end - 1] == ' ')
            end--;
        size_t start = end;
        while (start > 0 && line.text[start - 1] != ' ')
            start--;
        if (start == end)
            break;
        found[count++] = span_make(line.text + start, end - start);
        end = start;
    }
    for (size_t i = 0; i < count; i++)
        words[i] = found[count - 1 - i];
    return count;
}

static struct span without_remote(struct span line)
{
    size_t len = strlen(REMOTE);
    for (size_t i = 0; i + len < line.len; i++) {
        if (memcmp(line.text + i, REMOTE, len) == 0)
            return span_make(line.text, i);
    }
    return line;
}

/* "Thu Jan 1 10:00 [ZONE] 2015 [ZONE]" in COUNT words. */
static bool read_date(const struct span *words, size_t count, struct from_date *date)
{
    date->zone = FROM_NO_ZONE;
    date->month = find_name(words[1], "JanFebMarAprMayJunJulAugSepOctNovDec");
    if (find_name(words[0], "SunMonTueWedThuFriSat") < 0 || date->month < 0 ||
        !read_number(words[2], 1, 2, &date->day) || date->day < 1 || date->day > 31 ||
        !read_time(words[3], date))
        return false;
    size_t next = 4;
    int after = FROM_NO_ZONE;
    if (!read_number(words[next], 4, 4, &date->year) && !read_zone(words[next++], &date->zone))
        return false;
    if (next == 5 && (count < 6 || !read_number(words[next], 4, 4, &date->year)))
        return false;
    next++;
    if (next < count && !read_zone(words[next++], &after))
        return false;
    if (after != FROM_NO_ZONE)
        date->zone = after;
    return next == count;
}

bool from_line_parse(struct span line, struct from_date *date_r)
{
    if (!span_starts(line, "From ") || line.len > 1000)
        return false;
    struct span words[WORDS_MAX];
    size_t count = last_words(without_remote(line), words);
    /* The date has 5 to 7 words; "From" and a sender are before it. */
    for (size_t len = 5; len <= 7 && len <= count; len++) {
        const struct span *date = words + count - len;
        if (read_date(date, len, date_r))
            return date[0].text - line.text > (ptrdiff_t)strlen("From ");
    }
    return false;
}
