#include <stdio.h>

#include "cli/cli.h"
#include "cli/table.h"

static void seat_tell(const struct json *answer) {
    const struct json *seat = json_get(answer, "seat");
    const char *model = cli_text(seat, "model"), *state = cli_text(seat, "state"), *to = cli_text(seat, "to");
    printf("seat: %s, %s", model ? model : "(empty)", state ? state : "?");
    if (to)
        printf(" -> %s %llu %%, about %s left", to, (unsigned long long)cli_u64(seat, "percent"),
               human_ms(cli_ms(seat, "eta_ms")));
    if (json_get(seat, "memory_bytes")) printf(", %s of memory", human_bytes(cli_u64(seat, "memory_bytes")));
    printf("; %llu running\n", (unsigned long long)cli_u64(answer, "running"));
}

static int queues_tell(const struct json *queues) {
    if (json_count(queues) == 0) {
        printf("queue: nobody waits\n");
        return CLI_DONE;
    }
    AUTO(table_freep) struct table *t = NULL;
    if (table_open("QUEUE|>WAITING|>LONGEST", &t) != ERR_OK) return CLI_REFUSED;
    for (size_t i = 0; i < json_count(queues); i++) {
        const struct json *q = json_at(queues, i);
        table_cell(t, cli_text(q, "model"));
        table_cellf(t, "%llu", (unsigned long long)cli_u64(q, "waiting"));
        table_cell(t, human_ms(cli_ms(q, "oldest_ms")));
    }
    putchar('\n');
    return cli_print(t);
}

static int streams_tell(const struct json *streams) {
    if (json_count(streams) == 0) return CLI_DONE;
    AUTO(table_freep) struct table *t = NULL;
    if (table_open("STREAM|MODEL|AGENT|STATE|>TOKENS|>SINCE", &t) != ERR_OK) return CLI_REFUSED;
    for (size_t i = 0; i < json_count(streams); i++) {
        const struct json *r = json_at(streams, i);
        table_cell(t, cli_text(r, "request_id"));
        table_cell(t, cli_text(r, "model"));
        table_cell(t, cli_text(r, "agent"));
        table_cell(t, cli_text(r, "state"));
        table_cellf(t, "%llu", (unsigned long long)cli_u64(r, "tokens"));
        table_cell(t, human_ms(cli_ms(r, "since_ms")));
    }
    putchar('\n');
    return cli_print(t);
}

int cli_ps(int argc, char **argv) {
    struct cli c;
    const struct cli_option own[] = {CLI_JSON(c)};
    bool help = false;
    int status = cli_open(&c, argc, argv, own, ARRAY_LEN(own), 0, 0, &help);
    struct json *answer = NULL;
    if (status == CLI_DONE && !help)
        status = cli_call(&c, &(struct cli_request){"GET", "/admin/ps", NULL, true, false}, &answer);
    if (status == CLI_DONE && !help && !c.json) {
        seat_tell(answer);
        status = queues_tell(json_get(answer, "queues"));
        if (status == CLI_DONE) status = streams_tell(json_get(answer, "streams"));
        if (status == CLI_DONE && json_count(json_get(answer, "agents"))) {
            putchar('\n');
            status = cli_agents_print(json_get(answer, "agents"));
        }
    }
    json_free(answer);
    cli_close(&c);
    return status;
}
