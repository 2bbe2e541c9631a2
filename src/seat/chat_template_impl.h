/* chat_template_impl.h - what the C++ files behind chat_template.h share, and nobody else: how an exception ends, and a rendered
 * chat from inside. */
#ifndef HOTSEAT_SEAT_CHAT_TEMPLATE_IMPL_H
#define HOTSEAT_SEAT_CHAT_TEMPLATE_IMPL_H

#include <llama.h>

#include "seat/chat_template.h"

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "chat.h"
#include "common.h"

namespace chat_shim {

struct refused { /* thrown by our own code where the kind of failure is known */
    enum err err;
    std::string text;
};

template <typename F> enum err guarded(char *why, size_t why_size, F body) noexcept {
    try {
        body();
        return ERR_OK;
    } catch (const refused &r) {
        snprintf(why, why_size, "%s", r.text.c_str());
        return r.err;
    } catch (const std::bad_alloc &) {
        snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    } catch (const std::exception &e) {
        snprintf(why, why_size, "%s", e.what());
        return ERR_INVALID;
    } catch (...) {
        snprintf(why, why_size, "an unknown exception");
        return ERR_INTERNAL;
    }
}

inline std::string string_of(const struct msg_bytes &b) {
    return b.size ? std::string(reinterpret_cast<const char *>(b.data), b.size) : std::string();
}

inline std::string string_of(const char *s) {
    return s ? s : "";
}

std::string schema_grammar(const std::string &text);     /* throws refused where no grammar can say it */
std::string factor_literals(const std::string &grammar); /* says the same, with fewer stacks */
int32_t single_token(const struct llama_vocab *vocab,
                     const std::string &text); /* the one token that text is, or -1 */

} // namespace chat_shim

struct call_sent { /* what of a tool call went out */
    std::string id, arguments;
    bool head;
};

struct chat_render {
    common_chat_params params;
    common_chat_parser_params reader;
    bool exact;               /* the text is the content, to the byte: no thoughts, no tools */
    std::string grammar_text; /* params.grammar, or that of the schema when exact */
    std::vector<int32_t> kept;
    std::vector<std::string> stops;
    std::vector<const char *> stop_pointers;
    std::string id_seed;
    size_t n_exact_sent, n_calls_max;
    std::string content_sent, reasoning_sent;
    std::vector<call_sent> calls_sent;
};

#endif
