#include "base/err.h"

#include <errno.h>
#include <stddef.h>

#include "base/attr.h"

static const struct {
    const char *name;
    int http_status;
    bool retryable;
    const char *code;
    const char *text;
} rows[] = {
#define ERR_ROW(name, status, retryable, code, text) {#name, status, retryable, code, text},
    ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

static bool known(enum err err) {
    return (size_t)err < ARRAY_LEN(rows);
}

const char *err_name(enum err err) {
    return known(err) ? rows[err].name : "?";
}

const char *err_code(enum err err) {
    return known(err) ? rows[err].code : "?";
}

const char *err_text(enum err err) {
    return known(err) ? rows[err].text : "unknown error";
}

int err_http_status(enum err err) {
    return known(err) ? rows[err].http_status : 500;
}

bool err_retryable(enum err err) {
    return known(err) && rows[err].retryable;
}

enum err err_from_errno(int errnum) {
    switch (errnum) {
    case 0: return ERR_OK;
    case ENOMEM: return ERR_NOMEM;
    case EMFILE: return ERR_NOMEM; /* a want of ours, over in a moment: no word about the file */
    case ENFILE: return ERR_NOMEM;
    case ENOSPC: return ERR_DISK_FULL;
    case EDQUOT: return ERR_DISK_FULL;
    case ENOENT: return ERR_NOT_FOUND;
    case ENOTDIR: return ERR_NOT_FOUND; /* a plain file where a folder was: what was in it is not there */
    default: return ERR_IO;
    }
}
