"""Engines: who computes the gradients of a run.

| engine       | what it does                                                                   |
| ------------ | ------------------------------------------------------------------------------ |
| `tensorflow` | the gradient's graph with its variables frozen; XLA on GPUs                    |
| `openvino`   | the same graph, its training operations written as inference ones, on CPUs     |

`auto` takes the fastest of those that are installed and agree with `tensorflow` (`selection`).

A third engine is one file, `NAME_engine.py` in this package; its presence makes `explain.engine:
NAME` valid and `auto` try it. It holds an `ENGINE` of `engine.Engine`'s shape:

    class _OnnxEngine:
        def compile(self, function: AttributionFunction, spec: EngineSpec) -> CompiledAttribution:
            try:
                import onnxruntime
            except ImportError as error:
                raise EngineUnavailableError("onnxruntime is not installed") from error
            frozen = freeze(function.trace(function.batch_size))
            graph = inference_graph(frozen)   # no training operations, no variables
            session = ...                     # convert `graph.definition`

            # (N, *shape) float32 or uint8, (N,) int32, what feeds other inputs; thread-safe
            def run(inputs, labels, *beside):
                inputs = inputs.astype(np.float32, copy=False)
                return Attribution(*session.run(inputs, labels, *beside))

            return CompiledAttribution(run)

    ENGINE = _OnnxEngine()

Model, output layer, operator, target and input scale are in `function` already; method, reducer,
statistics and codec come after the engine. It raises `EngineUnavailableError`, with the reason,
where it cannot compute a gradient or honour `spec.precision`; `spec.threads` is how many CPU
threads it may use. Results must be the same bits at every call.
"""
