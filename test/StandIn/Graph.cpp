//===- Graph.cpp - Graphs and their launch --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

#include <algorithm>
#include <set>

using namespace moe::standin;

/// An order of the nodes that their dependencies allow: as captured, the other
/// way round as far as possible, or any.
static std::vector<std::shared_ptr<GraphNode>>
chooseOrder(Driver &driver,
            const std::vector<std::shared_ptr<GraphNode>> &nodes) {
  std::vector<std::shared_ptr<GraphNode>> open = nodes, order;
  std::set<const GraphNode *> done;
  auto isReady = [&](const std::shared_ptr<GraphNode> &node) {
    return std::all_of(node->after.begin(), node->after.end(),
                       [&](const auto &other) { return done.count(&*other); });
  };
  while (!open.empty()) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < open.size(); ++i)
      if (isReady(open[i]))
        ready.push_back(i);
    size_t pick = 0;
    if (driver.environment.schedule == moe::emu::Schedule::Late)
      pick = ready.size() - 1;
    else if (driver.environment.schedule == moe::emu::Schedule::Random)
      pick = driver.random() % ready.size();
    size_t index = ready[pick];
    done.insert(open[index].get());
    order.push_back(std::move(open[index]));
    open.erase(open.begin() + std::ptrdiff_t(index));
  }
  return order;
}

static std::shared_ptr<Graph> getGraph(Call &call, CUgraph handle) {
  std::shared_ptr<Graph> graph = call.driver.graphs.find(handle);
  for (const auto &capture : call.driver.captures)
    if (capture->graph == graph)
      graph = nullptr;
  if (!graph)
    call.misuse(CUDA_ERROR_INVALID_VALUE, "no such graph");
  return graph;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph handle,
                                     unsigned long long flags) {
  return enterCall(
      FunctionId::cuGraphInstantiateWithFlags, Current, [&](Call &call) {
        // Free on launch, upload, launch from the device, node priorities.
        if (!exec || flags > 15)
          return CUDA_ERROR_INVALID_VALUE;
        std::shared_ptr<Graph> graph = getGraph(call, handle);
        if (!graph)
          return CUDA_ERROR_INVALID_VALUE;
        auto made = std::make_shared<GraphExec>();
        made->context = call.context;
        made->nodes = graph->nodes;
        *exec = call.driver.execs.add<CUgraphExec>(made);
        call.detail = std::to_string(graph->nodes.size()) + " nodes";
        return CUDA_SUCCESS;
      });
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream streamHandle) {
  return enterCall(FunctionId::cuGraphLaunch, Current, [&](Call &call) {
    std::shared_ptr<GraphExec> exec = call.driver.execs.find(handle);
    std::shared_ptr<Stream> stream = findStream(call.context, streamHandle);
    if (!exec || !stream)
      return call.misuse(CUDA_ERROR_INVALID_HANDLE,
                         exec ? "no such stream" : "no such executable graph");
    Operation operation{Operation::Kind::Graph, "graph", nullptr};
    operation.run = [order = chooseOrder(call.driver, exec->nodes)] {
      for (const std::shared_ptr<GraphNode> &node : order)
        if (CUresult result = node->operation.run())
          return result;
      return CUDA_SUCCESS;
    };
    // One executable graph does not run twice at once.
    if (!stream->capture && exec->last && !exec->last->done)
      enqueue(stream, {Operation::Kind::Marker, "graph wait", nullptr},
              CUDA_SUCCESS, {exec->last});
    CUresult result = submit(stream, std::move(operation), call.takeInjected());
    if (result == CUDA_SUCCESS && !stream->capture)
      exec->last = stream->last;
    return result;
  });
}

CUresult cuGraphUpload(CUgraphExec handle, CUstream streamHandle) {
  return enterCall(FunctionId::cuGraphUpload, Current, [&](Call &call) {
    std::shared_ptr<Stream> stream = findStream(call.context, streamHandle);
    if (!stream || !call.driver.execs.find(handle))
      return CUDA_ERROR_INVALID_HANDLE;
    return stream->capture ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
                           : CUDA_SUCCESS;
  });
}

CUresult cuGraphExecDestroy(CUgraphExec handle) {
  return enterCall(FunctionId::cuGraphExecDestroy, Current | Release,
                   [&](Call &call) {
                     if (!call.driver.execs.find(handle))
                       return call.misuse(CUDA_ERROR_INVALID_VALUE,
                                          "no such executable graph");
                     // A launch that is under way keeps what it needs.
                     call.driver.execs.erase(handle);
                     return CUDA_SUCCESS;
                   });
}

CUresult cuGraphDestroy(CUgraph handle) {
  return enterCall(FunctionId::cuGraphDestroy, Current | Release,
                   [&](Call &call) {
                     std::shared_ptr<Graph> graph = getGraph(call, handle);
                     if (!graph)
                       return CUDA_ERROR_INVALID_VALUE;
                     for (const std::shared_ptr<GraphNode> &node : graph->nodes)
                       call.driver.nodes.erase(node->handle);
                     call.driver.graphs.erase(handle);
                     return CUDA_SUCCESS;
                   });
}

CUresult cuGraphGetNodes(CUgraph handle, CUgraphNode *nodes, size_t *count) {
  return enterCall(FunctionId::cuGraphGetNodes, Init, [&](Call &call) {
    std::shared_ptr<Graph> graph = getGraph(call, handle);
    if (!graph || !count)
      return CUDA_ERROR_INVALID_VALUE;
    if (!nodes) {
      *count = graph->nodes.size();
      return CUDA_SUCCESS;
    }
    for (size_t i = 0; i < *count; ++i)
      nodes[i] = i < graph->nodes.size() ? graph->nodes[i]->handle : nullptr;
    *count = std::min(*count, graph->nodes.size());
    return CUDA_SUCCESS;
  });
}

CUresult cuGraphNodeGetType(CUgraphNode handle, int *type) {
  return enterCall(FunctionId::cuGraphNodeGetType, Init, [&](Call &call) {
    std::shared_ptr<GraphNode> node = call.driver.nodes.find(handle);
    if (!node || !type)
      return CUDA_ERROR_INVALID_VALUE;
    switch (node->operation.kind) {
    case Operation::Kind::Kernel:
      *type = CU_GRAPH_NODE_TYPE_KERNEL;
      break;
    case Operation::Kind::Copy:
      *type = CU_GRAPH_NODE_TYPE_MEMCPY;
      break;
    case Operation::Kind::Fill:
      *type = CU_GRAPH_NODE_TYPE_MEMSET;
      break;
    case Operation::Kind::Host:
      *type = CU_GRAPH_NODE_TYPE_HOST;
      break;
    case Operation::Kind::Graph:
      *type = 4; // CU_GRAPH_NODE_TYPE_GRAPH
      break;
    case Operation::Kind::Memory:
    case Operation::Kind::Marker:
      *type = 5; // CU_GRAPH_NODE_TYPE_EMPTY
      break;
    }
    return CUDA_SUCCESS;
  });
}
