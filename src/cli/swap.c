#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/table.h"

static void swap_tell(const struct json *answer) {
    const char *status = cli_text(answer, "status"), *from = cli_text(answer, "from"),
               *to = cli_text(answer, "to");
    if (!status) { /* 202: it was only begun */
        printf("a swap to %s has begun; hotseat ps shows how far it is\n", to ? to : "the model");
        return;
    }
    if (strcmp(status, "already_seated") == 0) {
        printf("%s is seated already\n", to ? to : "the model");
        return;
    }
    const struct json *steps = json_get(answer, "steps_ms");
    printf("%s -> %s in %s (%s)\n", from ? from : "(empty)", to ? to : "(empty)",
           human_ms(cli_ms(answer, "total_ms")), status);
    static const char *const names[] = {"drain", "evict", "unload", "load", "configure"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        printf("  %-10s %s\n", names[i], human_ms(cli_ms(steps, names[i])));
    printf("  %llu blocks, %s written; %llu requests parked\n",
           (unsigned long long)cli_u64(answer, "blocks_written"),
           human_bytes(cli_u64(answer, "bytes_written")), (unsigned long long)cli_u64(answer, "parked"));
    const char *kind = cli_text(answer, "kind");
    if (kind && strcmp(kind, "process") == 0)
        printf("  by a new process: the old one did not give its memory back or hung\n");
}

static char *swap_body(const struct cli *c, const char *drain, const char *deadline, const char *no_wait) {
    struct buf body = BUF(0);
    struct json_out w = json_out_into(&body);
    json_obj(&w);
    json_key(&w, "model"), json_str(&w, c->words[0]);
    if (drain) json_key(&w, "drain_timeout_s"), json_f64(&w, strtod(drain, NULL));
    if (deadline) json_key(&w, "on_deadline"), json_str(&w, deadline);
    json_key(&w, "wait"), json_boolean(&w, !no_wait);
    json_end(&w);
    char *text = buf_take_string(&body);
    buf_free(&body);
    return text;
}

int cli_swap(int argc, char **argv) {
    const char *drain = NULL, *deadline = NULL, *no_wait = NULL;
    struct cli c;
    const struct cli_option own[] = {
        {"--drain-timeout", "SECONDS", &drain, "how long running requests may go on"},
        {"--on-deadline", "park|cancel", &deadline,
         "what happens to those that still run then; default park"},
        {"--no-wait", NULL, &no_wait, "do not wait until it is done"},
        CLI_JSON(c)};
    bool help = false;
    int status = cli_open(&c, argc, argv, own, ARRAY_LEN(own), 1, 1, &help);
    char *end = NULL;
    if (status == CLI_DONE && !help && drain &&
        (!(strtod(drain, &end) >= 0) || !isfinite(strtod(drain, NULL)) || end == drain || *end))
        status = cli_usage(c.verb, "--drain-timeout takes seconds, not '%s'", drain);
    if (status == CLI_DONE && !help && deadline && strcmp(deadline, "park") != 0 &&
        strcmp(deadline, "cancel") != 0)
        status = cli_usage(c.verb, "--on-deadline is park or cancel, not '%s'", deadline);
    if (status == CLI_DONE && !help) {
        AUTO(mem_freep) char *body = swap_body(&c, drain, deadline, no_wait);
        struct json *answer = NULL;
        status = body ? cli_call(&c, &(struct cli_request){"POST", "/admin/models/swap", body, true, true},
                                 &answer)
                      : CLI_REFUSED;
        if (status == CLI_DONE && !c.json) swap_tell(answer);
        json_free(answer);
    }
    cli_close(&c);
    return status;
}
