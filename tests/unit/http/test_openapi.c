/* The OpenAPI document: every path is in it, and every reference in it leads somewhere. That it is a valid one, and true, is
 * tests/server/test_openapi.py's business. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "check_run.h"
#include "http/openapi.h"
#include "http/routes.h"

static struct json *document(bool debug) {
    AUTO(buf_free) struct buf b = BUF(1u << 20);
    struct json_error where;
    openapi_write(&b, debug);
    ck_assert_int_eq(b.error, ERR_OK);
    struct json *root = json_read(b.data, b.size, &where);
    ck_assert_msg(root, "%d:%d: %s", where.line, where.column, where.text);
    return root;
}

static size_t count_operations(const struct json *root) {
    void *iter = NULL;
    const char *path;
    const struct json *item;
    size_t n = 0;
    while (json_next(json_get(root, "paths"), &iter, &path, &item)) n += json_count(item);
    return n;
}

START_TEST(every_path_is_there) {
    size_t n_debug = 0;
    for (int i = ROUTE_NONE + 1; i < ROUTE_COUNT; i++) n_debug += route_row((enum route)i)->debug;
    struct json *with = document(true), *without = document(false);
    ck_assert_uint_eq(count_operations(with), ROUTE_COUNT - 1);
    ck_assert_uint_eq(count_operations(without), ROUTE_COUNT - 1 - n_debug);
    ck_assert_ptr_null(json_get(json_get(without, "paths"), "/admin/debug/fault"));
    json_free(with);
    json_free(without);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

static void check_reference(const struct json *root, const char *ref) {
    char path[128];
    const struct json *v = root;
    ck_assert_msg(strncmp(ref, "#/", 2) == 0 && strlen(ref) < sizeof path, "%s", ref);
    strcpy(path, ref + 2);
    for (char *part = strtok(path, "/"); part; part = strtok(NULL, "/")) v = json_get(v, part);
    ck_assert_msg(json_type(v) == JSON_OBJECT, "%s leads nowhere", ref);
}

static size_t check_references(const struct json *root, const struct json *v) {
    void *iter = NULL;
    const char *key;
    const struct json *member;
    size_t n = 0;
    while (json_type(v) == JSON_OBJECT && json_next(v, &iter, &key, &member)) {
        if (strcmp(key, "$ref") == 0) {
            check_reference(root, json_string(member, NULL));
            n++;
        }
        n += check_references(root, member);
    }
    for (size_t i = 0; json_type(v) == JSON_ARRAY && i < json_count(v); i++)
        n += check_references(root, json_at(v, i));
    return n;
}

START_TEST(every_reference_leads_somewhere) {
    struct json *root = document(true);
    ck_assert_uint_gt(check_references(root, root), 500);
    json_free(root);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {every_path_is_there, every_reference_leads_somewhere};
    return CHECK_RUN("openapi", tests);
}
