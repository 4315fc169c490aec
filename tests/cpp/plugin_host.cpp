// Drives the plugin through TensorRT's IPluginV3 protocol without TensorRT: creator, build, serialise, create again, run.
// The kernel is the host emulation of tps_kernel_host.cpp. Run by ctest, under ASan and UBSan. With SPGVTON_ON_GPU it is linked
// with the kernel itself, and its tensors lie in memory that both see (tools/cuda_check.sh).
#include <NvInferRuntime.h>
#include <NvInferRuntimePlugin.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "tps_kernel.h"

using namespace nvinfer1;
namespace tps = spgvton::tps;

extern "C" IPluginCreatorInterface* const* getCreators(int32_t&);
extern "C" void setLoggerFinder(ILoggerFinder*);
#ifndef SPGVTON_ON_GPU
extern "C" char const* cudaGetErrorString(cudaError_t) { return "stub"; }
#endif

namespace {

#ifdef SPGVTON_ON_GPU
template <typename T>
struct Shared {  // an allocator
  using value_type = T;
  T* allocate(std::size_t n) {
    void* p = nullptr;
    if (cudaMallocManaged(&p, n * sizeof(T), cudaMemAttachGlobal) != cudaSuccess) throw std::bad_alloc();
    return static_cast<T*>(p);
  }
  void deallocate(T* p, std::size_t) { cudaFree(p); }
  bool operator==(Shared const&) const { return true; }
  bool operator!=(Shared const&) const { return false; }
};
using Tensor = std::vector<float, Shared<float>>;
bool finished() { return cudaDeviceSynchronize() == cudaSuccess; }
#else
using Tensor = std::vector<float>;
bool finished() { return true; }
#endif

int failures = 0;

#define CHECK(condition)                                                  \
  do {                                                                    \
    if (!(condition)) {                                                   \
      std::printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                         \
    }                                                                     \
  } while (0)

struct Log final : ILogger {
  std::string last;
  void log(Severity severity, char const* message) noexcept override {
    CHECK(severity == Severity::kERROR);
    last = message;
  }
};

struct Finder final : ILoggerFinder {
  Log logger;
  ILogger* findLogger() noexcept override { return &logger; }
};

Finder finder;

// Whether the plugin has just said TEXT; forgets it.
bool said(char const* text) {
  bool const found = finder.logger.last.find(text) != std::string::npos;
  if (!found) std::printf("said: %s\n", finder.logger.last.c_str());
  finder.logger.last.clear();
  return found;
}

// An attribute whose bytes end where its length says: one byte too far is one that ASan sees.
struct Field {
  std::string name;
  std::vector<char> bytes;
  PluginFieldType type;
  int32_t length;
};

template <typename T>
Field number(char const* name, T value, PluginFieldType type) {
  auto const* bytes = reinterpret_cast<char const*>(&value);
  return {name, {bytes, bytes + sizeof value}, type, 1};
}

Field integer(char const* name, int32_t value) { return number(name, value, PluginFieldType::kINT32); }

Field text(char const* name, std::string const& value) {
  return {name, {value.begin(), value.end()}, PluginFieldType::kCHAR, static_cast<int32_t>(value.size())};
}

std::vector<Field> const kGood{integer("grid_size", 5), integer("align_corners", 1), integer("images", 2),
                               text("padding", "border")};

IPluginCreatorV3One& creator() {
  int32_t count = 0;
  IPluginCreatorInterface* const* const all = getCreators(count);
  CHECK(count == 1);
  return *static_cast<IPluginCreatorV3One*>(all[0]);
}

std::unique_ptr<IPluginV3> create(std::vector<Field> const& fields, TensorRTPhase phase) {
  std::vector<PluginField> raw;
  for (Field const& f : fields) raw.emplace_back(f.name.c_str(), f.bytes.data(), f.type, f.length);
  PluginFieldCollection const collection{static_cast<int32_t>(raw.size()), raw.data()};
  return std::unique_ptr<IPluginV3>(creator().createPlugin("warp", &collection, phase));
}

// The good attributes with one of them replaced, by name.
std::vector<Field> with(Field const& changed) {
  std::vector<Field> fields = kGood;
  for (Field& f : fields) {
    if (f.name == changed.name) f = changed;
  }
  return fields;
}

IPluginV3OneBuild& building(IPluginV3& p) {
  return *static_cast<IPluginV3OneBuild*>(p.getCapabilityInterface(PluginCapabilityType::kBUILD));
}

IPluginV3OneRuntime& running(IPluginV3& p) {
  return *static_cast<IPluginV3OneRuntime*>(p.getCapabilityInterface(PluginCapabilityType::kRUNTIME));
}

Dims dims(std::initializer_list<int64_t> sizes) {
  Dims d{};
  for (int64_t size : sizes) d.d[d.nbDims++] = static_cast<decltype(d.d[0] + 0)>(size);
  return d;
}

void testCreator() {
  IPluginCreatorV3One& c = creator();
  CHECK(!std::strcmp(c.getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE"));
  CHECK(c.getAPILanguage() == APILanguage::kCPP);
  CHECK(!std::strcmp(c.getPluginName(), "TpsGridSample"));
  CHECK(!std::strcmp(c.getPluginVersion(), "1") && !std::strcmp(c.getPluginNamespace(), ""));
  CHECK(c.getFieldNames()->nbFields == 4);
}

void testAttributes() {
  CHECK(create(kGood, TensorRTPhase::kBUILD));
  CHECK(create({}, TensorRTPhase::kBUILD));
  CHECK(create(with(text("padding", std::string("zeros\0", 6))), TensorRTPhase::kBUILD));  // some writers end it with 0
  CHECK(create({integer("of_another_version", 1)}, TensorRTPhase::kBUILD));
  std::vector<std::pair<Field, char const*>> const wrong{
      {integer("grid_size", 7), "grid_size must be 2 to 5, got 7"},
      {integer("align_corners", 2), "align_corners must be 0 to 1"},
      {integer("images", 5), "images must be 1 to 4"},
      {number("grid_size", int64_t{5}, PluginFieldType::kINT64), "grid_size must be one int32"},
      {text("padding", "reflection"), "padding must be"},
      {text("padding", ""), "padding must be"},
      {integer("padding", 1), "padding must be"},
  };
  for (auto const& [field, message] : wrong) {
    CHECK(!create(with(field), TensorRTPhase::kBUILD));
    CHECK(said(message));
  }
}

void testCapabilities() {
  auto const p = create(kGood, TensorRTPhase::kBUILD);
  auto* core = static_cast<IPluginV3OneCore*>(p->getCapabilityInterface(PluginCapabilityType::kCORE));
  CHECK(core && !std::strcmp(core->getInterfaceInfo().kind, "PLUGIN_V3ONE_CORE"));
  CHECK(!std::strcmp(core->getPluginName(), "TpsGridSample"));
  CHECK(!std::strcmp(building(*p).getInterfaceInfo().kind, "PLUGIN_V3ONE_BUILD"));
  CHECK(!std::strcmp(running(*p).getInterfaceInfo().kind, "PLUGIN_V3ONE_RUNTIME"));
}

// Passed on by the plugin and not looked into; only TensorRT can make real ones.
struct Size final : IDimensionExpr {
  Size() noexcept {}
};
struct Expressions final : IExprBuilder {};

// Two images, the second of one channel: outputs have the types and shapes of theirs.
void testOutputs() {
  auto const p = create(kGood, TensorRTPhase::kBUILD);
  IPluginV3OneBuild& b = building(*p);
  CHECK(b.getNbOutputs() == 2);
  DataType const in[] = {DataType::kHALF, DataType::kFLOAT, DataType::kFLOAT};
  DataType out[2];
  CHECK(b.getOutputDataTypes(out, 2, in, 3) == 0 && out[0] == DataType::kHALF && out[1] == DataType::kFLOAT);
  CHECK(b.getOutputDataTypes(out, 2, in, 2) != 0 && said("must be 3 inputs and 2 outputs, got 2 and 2"));
  Size const batch, one, two, three, points, height, width;
  DimsExprs const inputs[] = {{4, {&batch, &three, &height, &width}},
                              {3, {&batch, &two, &points}},
                              {4, {&batch, &one, &height, &width}}};
  DimsExprs shapes[2];
  Expressions builder;
  CHECK(b.getOutputShapes(inputs, 3, nullptr, 0, shapes, 2, builder) == 0);
  CHECK(shapes[0].nbDims == 4 && shapes[0].d[1] == &three && shapes[1].d[1] == &one && shapes[1].d[0] == &batch);
  DimsExprs flat[] = {inputs[0], inputs[1], {3, {&batch, &height, &width}}};
  CHECK(b.getOutputShapes(flat, 3, nullptr, 0, shapes, 2, builder) != 0 && said("must be (N, C, H, W), got 3"));
  CHECK(b.getWorkspaceSize(nullptr, 0, nullptr, 0) == 0 && b.getNbTactics() == 0 && b.getFormatCombinationLimit() >= 1);
}

// float32 and float16, linear, at every position; an output of its image's type.
void testFormats() {
  auto const p = create(kGood, TensorRTPhase::kBUILD);
  int accepted = 0;
  for (int position = 0; position < 5; ++position) {
    for (DataType type :
         {DataType::kFLOAT, DataType::kHALF, DataType::kINT8, DataType::kINT32, DataType::kBF16}) {
      for (TensorFormat format : {TensorFormat::kLINEAR, TensorFormat::kCHW2, TensorFormat::kHWC8}) {
        DynamicPluginTensorDesc tensors[5] = {};
        for (auto& t : tensors) t.desc.type = DataType::kFLOAT;
        tensors[position].desc.type = type;
        tensors[position].desc.format = format;
        bool const isFloat = type == DataType::kFLOAT || (type == DataType::kHALF && position < 3);
        bool const found = building(*p).supportsFormatCombination(position, tensors, 3, 2);
        CHECK(found == (isFloat && format == TensorFormat::kLINEAR));
        accepted += found;
      }
    }
  }
  CHECK(accepted == 8);
}

// The timings of one plugin are not those of another one.
void testTimingCacheId() {
  auto const p = create(kGood, TensorRTPhase::kBUILD), same = create(kGood, TensorRTPhase::kBUILD);
  CHECK(std::string(building(*p).getTimingCacheID()) == building(*same).getTimingCacheID());
  std::unique_ptr<IPluginV3> const copy(p->clone());
  CHECK(std::string(building(*p).getTimingCacheID()) == building(*copy).getTimingCacheID());
  CHECK(building(*p).getTimingCacheID() != building(*copy).getTimingCacheID());  // it outlives the other one
  for (Field const& f : {integer("grid_size", 4), integer("align_corners", 0), integer("images", 1),
                         text("padding", "zeros")}) {
    auto const other = create(with(f), TensorRTPhase::kBUILD);
    CHECK(std::string(building(*p).getTimingCacheID()) != building(*other).getTimingCacheID());
  }
}

struct Shapes {
  PluginTensorDesc tensors[5] = {};  // image, theta, mask, and both warped
  Shapes(int64_t n, int64_t h, int64_t w) {
    Dims const all[] = {dims({n, 3, h, w}), dims({n, 2, 25}), dims({n, 1, h, w}), dims({n, 3, h, w}), dims({n, 1, h, w})};
    for (int i = 0; i < 5; ++i) tensors[i] = PluginTensorDesc{all[i], DataType::kFLOAT, TensorFormat::kLINEAR, 1.f};
  }
};

int32_t configure(IPluginV3& p, Shapes const& s) {
  DynamicPluginTensorDesc dynamic[5] = {};
  for (int i = 0; i < 5; ++i) dynamic[i].desc = s.tensors[i];
  return building(p).configurePlugin(dynamic, 3, dynamic + 3, 2);
}

int32_t change(IPluginV3& p, Shapes const& s) { return running(p).onShapeChange(s.tensors, 3, s.tensors + 3, 2); }

// While building and while running: what CUDA cannot launch, or is no operator's shape, is refused before the launch.
void testShapes() {
  auto const p = create(kGood, TensorRTPhase::kBUILD);
  for (auto const& good : {Shapes(-1, 16, 12), Shapes(tps::kMaxBatch, 8, 8), Shapes(1, tps::kMaxHeight, 1)}) {
    CHECK(configure(*p, good) == 0 && change(*p, good) == 0);
  }
  struct {
    Shapes shapes;
    char const* message;
  } const tooLarge[] = {
      {Shapes(tps::kMaxBatch + 1, 8, 8), "image 0 is larger than 65535 along axis 0"},
      {Shapes(1, tps::kMaxHeight + 1, 1), "image 0 is larger than 524280 along axis 2"},
      {Shapes(1, 1, (1 << 20) + 1), "image 0 is larger than 1048576 along axis 3"},
  };
  for (auto const& [shapes, message] : tooLarge) {
    CHECK(configure(*p, shapes) != 0 && said(message));
    CHECK(change(*p, shapes) != 0 && said(message));
  }
  Shapes theta(2, 16, 12), mask(2, 16, 12);
  theta.tensors[1].dims = dims({2, 2, 16});
  mask.tensors[2].dims = dims({2, 1, 16, 13});
  CHECK(configure(*p, theta) != 0 && said("theta must be (N, 2, 25) with grid_size=5"));
  CHECK(change(*p, mask) != 0 && said("image 1 must be (N, C, H, W) with theta's N and the first image's H and W"));
}

// As an engine is stored and loaded: the attributes alone travel, and the plugin that wrote them is gone.
std::unique_ptr<IPluginV3> storedAndLoaded() {
  auto first = create(kGood, TensorRTPhase::kBUILD);
  std::vector<Field> stored;
  PluginFieldCollection const* const fields = running(*first).getFieldsToSerialize();
  for (int32_t i = 0; i < fields->nbFields; ++i) {
    PluginField const& f = fields->fields[i];
    std::size_t const size = static_cast<std::size_t>(f.length) * (f.type == PluginFieldType::kINT32 ? 4 : 1);
    auto const* data = static_cast<char const*>(f.data);
    stored.push_back({f.name, {data, data + size}, f.type, f.length});
  }
  CHECK(stored.size() == 4);
  first.reset();
  auto loaded = create(stored, TensorRTPhase::kRUNTIME);
  std::unique_ptr<IPluginV3> const copy(loaded->clone());
  loaded.reset();
  return std::unique_ptr<IPluginV3>(running(*copy).attachToContext(nullptr));
}

void testRun() {
  auto const p = storedAndLoaded();
  Shapes const s(2, 16, 12);
  CHECK(running(*p).setTactic(0) == 0 && change(*p, s) == 0);
  Tensor image(2 * 3 * 16 * 12), mask(2 * 16 * 12), theta(2 * 2 * 25);
  Tensor warped(image.size(), NAN), warpedMask(mask.size(), NAN);
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>(i % 97) / 97;
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = static_cast<float>(i % 13) / 13;
  for (int item = 0; item < 2; ++item) {
    for (int k = 0; k < 25; ++k) {
      theta[50 * item + k] = -1 + .5f * static_cast<float>(k % 5);
      theta[50 * item + 25 + k] = -1 + .5f * static_cast<float>(k / 5);
    }
  }
  void const* inputs[] = {image.data(), theta.data(), mask.data()};
  void* outputs[] = {warped.data(), warpedMask.data()};
  CHECK(running(*p).enqueue(s.tensors, s.tensors + 3, inputs, outputs, nullptr, nullptr) == 0 && finished());
  CHECK(warped == image && warpedMask == mask);  // an identity theta gives the pictures back
}

}  // namespace

int main() {
  setLoggerFinder(&finder);
  testCreator();
  testAttributes();
  testCapabilities();
  testOutputs();
  testFormats();
  testTimingCacheId();
  testShapes();
  testRun();
  setLoggerFinder(nullptr);
  CHECK(!create(with(integer("grid_size", 7)), TensorRTPhase::kBUILD));  // without a logger: told on stderr
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
