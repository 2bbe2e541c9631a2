#include <stdio.h>

#include "cli/cli.h"
#include "cli/table.h"

int cli_offload(int argc, char **argv) {
    struct cli c;
    const struct cli_option own[] = {CLI_JSON(c)};
    bool help = false;
    int status = cli_open(&c, argc, argv, own, ARRAY_LEN(own), 0, 0, &help);
    struct json *answer = NULL;
    if (status == CLI_DONE && !help)
        status =
            cli_call(&c, &(struct cli_request){"POST", "/admin/models/offload", "{}", true, true}, &answer);
    if (status == CLI_DONE && !help && !c.json) {
        const char *from = cli_text(answer, "from");
        if (from)
            printf("%s has left the seat in %s; it is empty\n", from, human_ms(cli_ms(answer, "total_ms")));
        else
            printf("the seat is empty\n");
    }
    json_free(answer);
    cli_close(&c);
    return status;
}
