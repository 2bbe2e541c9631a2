/* limits.h - every cap of the program, each with its reason. Hitting one is a counted, tested error. */
#ifndef HOTSEAT_BASE_LIMITS_H
#define HOTSEAT_BASE_LIMITS_H

#define BLOCK_TOKENS 256       /* tokens a block: the reference's universal size; 1-3 ms to take */
#define CHAINS_PER_AGENT_MAX 8 /* conversations one agent's name may hold at once */
#define AGENT_ID_BYTES_MAX 256 /* an e-mail address is at most 254 */
#define MODEL_ID_BYTES_MAX 200 /* a file name is at most 255, with .gguf and a tag */
#define MODELS_MAX 1024        /* files in the model folders; a folder of everything is a mistake */
#define MODEL_ALIASES_MAX 16
#define REQUEST_ID_BYTES_MAX 128     /* X-Request-ID that we accept from a client */
#define REQUEST_TIMEOUT_S_MIN 0.001  /* X-Hotseat-Timeout-S: a millisecond ... */
#define REQUEST_TIMEOUT_S_MAX 86400  /* ... to a day */
#define BODY_BYTES_MAX (8u << 20)    /* a request body: 1M tokens of text are about 4 MB */
#define HEADER_BYTES_MAX (32u << 10) /* all headers of one request */
#define URL_BYTES_MAX 4096
#define JSON_DEPTH_MAX 64 /* tool schemas nest 10-20 deep */
#define MESSAGES_MAX 4096 /* messages in one conversation */
#define STOPS_MAX 16
#define STOP_BYTES_MAX 1024
#define TOOLS_MAX 128
/* How much a model may be told to think; the first is not at all. */
#define EFFORT_WORDS "none", "minimal", "low", "medium", "high", "xhigh", "max"
#define FUNCTION_NAME_BYTES_MAX 64 /* OpenAI's and Anthropic's bound */
#define LOGIT_BIAS_MAX 1024        /* entries of logit_bias; each is looked at for every token */
#define TOP_LOGPROBS_MAX 20        /* OpenAI's bounds: top_logprobs of a chat, */
#define TEXT_LOGPROBS_MAX 5        /* and logprobs of a plain prompt */
#define CHOICES_MAX 16 /* answers to one request: each is a sequence, and a copy of what was asked */
#define LOOK_TOKENS_MAX (1u << 20) /* of one /tokenize or /detokenize: a context of a million */
#define CONNECTIONS_MAX 4096       /* sockets of the front; O4 wants 1,000 that wait */
#define QUEUE_PER_MODEL_MAX 2048   /* requests that wait for one model */
#define QUEUE_TOTAL_MAX 4096
#define REQUESTS_BYTES_MAX                                                                                   \
    (256u << 20) /* what these and the running ones asked with: 4,096 bodies would be 32 GB */
#define CLIENT_OUT_BYTES_MAX                                                                                 \
    (1u << 20) /* unsent bytes of a stream that may wait for the next piece; then it is ended as slow */
#define FRAME_BYTES_MAX (64u << 20)  /* one frame of the link: a body plus 1M tokens of replay */
#define MAILBOX_MAIL_MAX 8192        /* frames and replies between two threads */
#define DIRTY_BYTES_MAX (256u << 20) /* KV bytes handed to the disk thread and not yet written */
#define RESTORE_AHEAD_BLOCKS 8       /* blocks read ahead of the engine while a sequence is restored */
#define SEQUENCES_MAX 256            /* libllama's LLAMA_MAX_SEQ */
#define PARALLEL_MAX 64
#define TOKEN_GAP_MAX 100      /* times an undisturbed token: past it prompts fill whole steps anyway */
#define SWAP_HISTORY 32        /* swaps that GET /admin/swap shows */
#define EVENT_CLIENTS_MAX 64   /* open GET /admin/events */
#define GGUF_KV_MAX 65536      /* metadata pairs; real files have 20-60 */
#define GGUF_TENSORS_MAX 65536 /* real files have 30-2,000 */
#define GGUF_STRING_BYTES_MAX (16u << 20)  /* one string; templates are up to 100 KB */
#define GGUF_ARRAY_MAX (16u << 20)         /* elements of one array; vocabularies have 262,144 */
#define GGUF_DIMS_MAX 4                    /* dimensions of a tensor */
#define GGUF_KEY_BYTES_MAX 1024            /* a metadata key; real ones have 20-60 */
#define GGUF_NAME_BYTES_MAX 63             /* a tensor name; libllama takes no longer one */
#define GGUF_HEADER_BYTES_MAX (512u << 20) /* metadata and tensor table: 262,144 tokens take 10 MB */

#define BODIES_BYTES_MAX                                                                                     \
    (256u << 20) /* all bodies that are being received or parsed, of all connections together */
#define ANSWER_BYTES_MAX (32u << 20)  /* one answer that is not streamed, while it is collected */
#define IGNORED_HEADER_BYTES_MAX 1000 /* X-Hotseat-Ignored: proxies cut a header line at 4-8 KB */
#define IDLE_BODY_S 30                /* seconds without a byte before a half-sent request is ended */
#define JSON_VALUES_MAX 1200000       /* in one text: a million prompt ids and what stands around them */
#define JSON_CONTAINERS_MAX                                                                                  \
    (1u << 18) /* objects and arrays of one text: an empty one takes 250 bytes as a tree */
#define BODY_SMALL_BYTES (64u << 10) /* of a body: so much is always kept, whatever the others have sent */
#define BODY_BYTES_PER_S_MIN 4096    /* from IDLE_BODY_S on; a phone on a bad line does better */

#endif
