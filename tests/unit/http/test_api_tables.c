/* docs/api.md has the very rows of every table, and none that no table has. */
#include <stdio.h>
#include <string.h>

#include "check_run.h"
#include "http/api_anthropic.h"
#include "http/api_llama.h"
#include "http/api_openai.h"

static const char *document(void) {
    static char text[256 << 10], path[4096];
    snprintf(path, sizeof path, "%s", __FILE__);
    char *tests = strstr(path, "tests/unit/");
    ck_assert_ptr_nonnull(tests);
    strcpy(tests, "docs/api.md");
    FILE *f = fopen(path, "r");
    ck_assert_msg(f, "%s", path);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

/* From its heading to the next one; *ret_size. */
static const char *section(const char *text, const char *heading, size_t *ret_size) {
    const char *at = strstr(text, heading);
    ck_assert_msg(at, "no section %s", heading);
    const char *end = strstr(at + strlen(heading), "\n##");
    *ret_size = end ? (size_t)(end - at) : strlen(at);
    return at;
}

static void check(const char *heading, const struct api_table *table) {
    const struct api_param *params = table->params;
    size_t n = table->n_params, size = 0, written = 0;
    const char *text = section(document(), heading, &size);
    for (size_t i = 0; i < n; i++) {
        char row[512];
        snprintf(row, sizeof row, "| `%s` | %s | %s |\n", params[i].name, api_rule_name(params[i].rule),
                 params[i].text);
        ck_assert_msg(memmem(text, size, row, strlen(row)), "%s lacks: %s", heading, row);
    }
    for (int rule = API_HONOURED; rule <= API_NEUTRAL; rule++) {
        char cell[64];
        snprintf(cell, sizeof cell, "` | %s | ", api_rule_name((enum api_rule)rule));
        for (const char *p = text; (p = memmem(p, size - (size_t)(p - text), cell, strlen(cell))); p++)
            written++;
    }
    ck_assert_uint_eq(n, written);
}

START_TEST(the_document_says_the_same) {
    check("\n## POST /v1/chat/completions\n", openai_table(OPENAI_CHAT));
    check("\n## POST /v1/completions\n", openai_table(OPENAI_TEXT));
    check("\n## POST /v1/messages\n", anthropic_table(ANTHROPIC_MESSAGES));
    check("\n### POST /v1/messages/count_tokens\n", anthropic_table(ANTHROPIC_COUNT));
    check("\n## POST /tokenize\n", look_table(LLAMA_TOKENIZE));
    check("\n## POST /detokenize\n", look_table(LLAMA_DETOKENIZE));
    check("\n## POST /apply-template\n", look_table(LLAMA_TEMPLATE));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {the_document_says_the_same};
    return CHECK_RUN("api_tables", tests);
}
