// The part of the CUDA driver that the GPU session uses, on the host's memory, for tests: real PyCUDA and the real ctypes
// calls run on it. Built as libcuda.so.1. Work on the stream runs when the stream is waited for; graphs replay it; calls
// without a current context, and handles that were freed, are errors. EMU_FAIL=cuName fails that function always.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

using Work = std::vector<std::function<void()>>;
enum : int { kOk = 0, kInvalidValue = 1, kInvalidContext = 201, kInvalidated = 901 };

std::recursive_mutex mutex;
int retained = 0, launches = 0;
thread_local std::vector<void*> contexts;
std::set<void*> streams, pinned, device;
std::map<void*, Work> graphs, executables;
Work queue, captured;
bool capturing = false, broken = false;
int theContext, theStream;
std::size_t numbers = 0x1000;

bool fails(char const* name) {
  char const* const wanted = std::getenv("EMU_FAIL");
  bool const yes = wanted && std::strcmp(wanted, name) == 0;
  if (yes && capturing) broken = true;
  return yes;
}

int enqueue(std::function<void()> work) {
  (capturing ? captured : queue).push_back(std::move(work));
  return kOk;
}

void* number() { return reinterpret_cast<void*>(numbers += 16); }

}  // namespace

#define ENTER(name)                                         \
  std::lock_guard<std::recursive_mutex> const lock(mutex);  \
  if (fails(name)) return kInvalidValue
#define ENTER_WITH_CONTEXT(name) \
  ENTER(name);                   \
  if (contexts.empty() || retained == 0) return kInvalidContext

extern "C" {

// "contexts of this thread, retained, streams, pinned, device, graphs, executables, launches"
void emuState(char* text, std::size_t size) {
  std::snprintf(text, size, "%zu %d %zu %zu %zu %zu %zu %d", contexts.size(), retained, streams.size(), pinned.size(),
                device.size(), graphs.size(), executables.size(), launches);
}

int cuInit(unsigned) { ENTER("cuInit"); return kOk; }
int cuDriverGetVersion(int* version) { *version = 13000; return kOk; }
int cuDeviceGet(int* d, int) { ENTER("cuDeviceGet"); *d = 0; return kOk; }
int cuDeviceGetName(char* name, int, int) { std::strcpy(name, "NVIDIA Emulated"); return kOk; }
int cuDeviceGetAttribute(int* value, int attribute, int) { *value = attribute == 75 ? 8 : 7; return kOk; }
int cuDeviceTotalMem_v2(std::size_t* bytes, int) { *bytes = 1ull << 30; return kOk; }
int cuDevicePrimaryCtxRetain(void** c, int) { ENTER("cuDevicePrimaryCtxRetain"); ++retained; *c = &theContext; return kOk; }
int cuDevicePrimaryCtxRelease_v2(int) { ENTER("cuDevicePrimaryCtxRelease_v2"); --retained; return kOk; }
int cuCtxPushCurrent_v2(void* c) { ENTER("cuCtxPushCurrent_v2"); contexts.push_back(c); return kOk; }
int cuCtxPopCurrent_v2(void** c) {
  ENTER("cuCtxPopCurrent_v2");
  if (contexts.empty()) return kInvalidContext;
  *c = contexts.back();
  contexts.pop_back();
  return kOk;
}

// Blocking streams (0) are refused: while one is captured, work of other threads on the legacy stream spoils the capture.
int cuStreamCreate(void** s, unsigned flags) {
  ENTER_WITH_CONTEXT("cuStreamCreate");
  if (flags != 1) return kInvalidValue;
  streams.insert(*s = &theStream);
  return kOk;
}
int cuStreamDestroy_v2(void* s) { ENTER_WITH_CONTEXT("cuStreamDestroy_v2"); return streams.erase(s) ? kOk : kInvalidValue; }
int cuStreamSynchronize(void*) {
  ENTER_WITH_CONTEXT("cuStreamSynchronize");
  if (capturing) { broken = true; return kInvalidated; }
  Work const work = std::move(queue);
  queue.clear();
  for (auto const& one : work) one();
  return kOk;
}

int cuMemAlloc_v2(void** p, std::size_t n) {
  ENTER_WITH_CONTEXT("cuMemAlloc_v2");
  device.insert(*p = std::malloc(n));
  return kOk;
}
int cuMemFree_v2(void* p) {
  ENTER_WITH_CONTEXT("cuMemFree_v2");
  if (!device.erase(p)) return kInvalidValue;
  std::free(p);
  return kOk;
}
int cuMemHostAlloc(void** p, std::size_t n, unsigned) {
  ENTER_WITH_CONTEXT("cuMemHostAlloc");
  pinned.insert(*p = std::malloc(n));
  return kOk;
}
int cuMemFreeHost(void* p) {
  ENTER_WITH_CONTEXT("cuMemFreeHost");
  if (!pinned.erase(p)) return kInvalidValue;
  std::free(p);
  return kOk;
}
int cuMemcpyHtoDAsync_v2(void* to, void const* from, std::size_t n, void*) {
  ENTER_WITH_CONTEXT("cuMemcpyHtoDAsync_v2");
  return enqueue([=] { std::memcpy(to, from, n); });
}
int cuMemcpyDtoHAsync_v2(void* to, void* from, std::size_t n, void*) {
  ENTER_WITH_CONTEXT("cuMemcpyDtoHAsync_v2");
  return enqueue([=] { std::memcpy(to, from, n); });
}
int cuLaunchHostFunc(void*, void (*function)(void*), void* data) {  // stands for the network's kernels
  ENTER_WITH_CONTEXT("cuLaunchHostFunc");
  return enqueue([=] { function(data); });
}

int cuStreamBeginCapture_v2(void*, int mode) {
  ENTER_WITH_CONTEXT("cuStreamBeginCapture_v2");
  if (capturing || mode != 1 || !queue.empty()) return kInvalidValue;
  captured.clear();
  capturing = true;
  broken = false;
  return kOk;
}
int cuStreamEndCapture(void*, void** graph) {
  bool const wasCapturing = capturing;
  capturing = false;  // as the driver does, whatever it returns
  *graph = nullptr;
  ENTER_WITH_CONTEXT("cuStreamEndCapture");
  if (!wasCapturing) return kInvalidValue;
  if (broken) return kInvalidated;
  graphs[*graph = number()] = captured;
  return kOk;
}
int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  ENTER_WITH_CONTEXT("cuGraphInstantiateWithFlags");
  if (!graphs.count(graph)) return kInvalidValue;
  executables[*executable = number()] = graphs[graph];
  return kOk;
}
int cuGraphLaunch(void* executable, void*) {
  ENTER_WITH_CONTEXT("cuGraphLaunch");
  if (!executables.count(executable)) return kInvalidValue;
  ++launches;
  for (auto const& one : executables[executable]) queue.push_back(one);
  return kOk;
}
int cuGraphDestroy(void* graph) { ENTER("cuGraphDestroy"); return graphs.erase(graph) ? kOk : kInvalidValue; }
int cuGraphExecDestroy(void* executable) {
  ENTER("cuGraphExecDestroy");
  return executables.erase(executable) ? kOk : kInvalidValue;
}

int cuGetErrorString(int status, char const** text) {
  *text = status == kInvalidated ? "operation failed due to a previous error during capture"
          : status == kInvalidContext ? "invalid device context" : "invalid argument";
  return kOk;
}
}
