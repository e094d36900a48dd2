"""What reports say, in English and in Chinese: each key has both, and the Chinese has the words of the seed's report.

A heading or title that is empty in a language leaves that column, line or table out of it: the seed's tables have the
seed's headings, and no others.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from agentmem_cli.formats.sentences import SENTENCES

Lang: TypeAlias = Literal["en", "zh"]
LANGS: Final[tuple[Lang, ...]] = get_args(Lang)

_HEADER: Final = {
    "title": ("Benchmark of {0}", "{0}: 批量模式性能测试报告"),
    "header.date": ("measured", "测试日期"),
    "header.tool": ("with", "测试工具"),
    "header.machine": ("machine", "测试环境"),
    "header.versions": ("versions", "软件版本"),
    "header.workload": ("workload", "测试负载"),
    "header.method": ("method", "测试方法"),
    "header.ceiling": ("this machine's own ceiling", "本机上限"),
    "header.interrupted": ("interrupted", "已中断"),
    "machine": ("{0}, {1} cores{2} · {3} · Python {4}", "{0}，{1} 核{2} · {3} · Python {4}"),
    "machine.memory": (", {0:.0f} GiB", "，{0:.0f} GiB"),
    "workload": ("{0}, {1:,} memories", "{0}，{1:,} 条记忆"),
    "workload.threads": (" · {0}, {1} threads at most", " · {0}，最多 {1} 线程"),
    "method": (
        "median of {0} and its 95 % interval, fresh store each, after {1} warm-up",
        "{0} 次重复的中位数及其 95% 区间，每次新建存储，预热 {1} 次",
    ),
    "ceiling": (
        "{0:,.0f} GFLOP/s (float32 products), {1:,.0f} fsync/s",
        "{0:,.0f} GFLOP/s (float32 矩阵乘)，{1:,.0f} fsync/s",
    ),
    "interrupted": ("this is what was measured by then", "以下为中断前测得的部分"),
    "results": ("Results", "📊 测试结果总结"),
    "warnings": ("What speaks against it", "注意事项"),
    "warning": ("Warning", "警告"),
    "glossary": ("What the words mean", "术语说明"),
    "plots": ("Plots", "图表"),
    "interval": ("{0} to {1}", "{0} 至 {1}"),
}  # fmt: skip

_SEED: Final = {
    "batches.title": ("Batches: parsed, embedded, durable and searchable", "批量模式性能"),
    "batches.size": ("batch size", "批次大小"),
    "batches.total": ("total, ms", "总时间"),
    "batches.interval": ("95 %, ms", ""),
    "batches.each": ("ms/memory", "平均延迟"),
    "batches.ops": ("ops/s", "吞吐量"),
    "batches.target": ("% of target", "目标达成率"),
    "batches.caption": ("total is the median; the target is 5,000 ops/s", "总时间为中位数；目标为 5,000 ops/s"),
    "total": ("{0:,.2f}", "{0:.2f}ms"),
    "each": ("{0:.3f}", "{0:.3f}ms/条"),
    "ops": ("{0:,.2f}", "{0:.2f} ops/s"),
    "comparison.title": ("Single against batch: the same {0} memories", "单个 vs 批量对比测试 ({0}条)"),
    "comparison.mode": ("mode", "模式"),
    "comparison.total": ("total, ms", "总时间"),
    "comparison.interval": ("95 %, ms", ""),
    "comparison.ops": ("ops/s", "吞吐量"),
    "comparison.speedup": ("speed-up", "加速比"),
    "comparison.single": ("one by one", "单个添加"),
    "comparison.batch": ("in one batch", "批量添加"),
    "comparison.one": ("1.00x", "1.0x"),
    "comparison.saved": ("time saved", "时间节省"),
    "comparison.sure": ("speed-up, 95 %", ""),
    "comparison.effect": ("", "批量优化效果"),
    "effect.excellent": ("", "✅ 优秀 (5x 以上)"),
    "effect.good": ("", "✅ 良好 (3-5x)"),
    "effect.some": ("", "⚠️ 一般 (1-3x)"),
    "effect.none": ("", "⚠️ 无 (1x 以下)"),
    "actual.title": ("", "性能分析"),
    "actual.figure": ("", "实际性能"),
    "actual.target": ("", "目标性能"),
    "actual.gap": ("", "差距"),
    "actual.of_batch": ("", "{0:.2f} ops/s (批次{1})"),
    "actual.wanted": ("", "{0:,.0f} ops/s"),
    "actual.reached": ("", "已达到目标 ({0:.0%} of target)"),
    "actual.missed": ("", "未达到目标 ({0:.0%} of target)"),
    "intervals.title": ("", "95% 置信区间"),
    "intervals.what": ("", "项目"),
    "intervals.total": ("", "总时间"),
    "intervals.ops": ("", "吞吐量"),
    "intervals.batch": ("", "批次 {0}"),
    "targets.title": ("Targets", "目标达成情况"),
    "targets.target": ("target", "目标"),
    "targets.wanted": ("wanted", "预期"),
    "targets.measured": ("measured", "实际"),
    "targets.verdict": ("verdict", "状态"),
    "target.ops_per_s": ("throughput, best batch", "批量吞吐量"),
    "target.ms_per_memory": ("latency, best batch", "平均延迟"),
    "target.speedup": ("batch against single", "批量加速比"),
    "wanted.ops_per_s": (">= {0:,.0f} ops/s", "{0:,.0f}+ ops/s"),
    "wanted.ms_per_memory": ("< {0:g} ms/memory", "< {0:g}ms/条"),
    "wanted.speedup": (">= {0:g}x", "{0:g}x+"),
    "measured.ops_per_s": ("{0:,.2f} ops/s", "{0:.2f} ops/s"),
    "measured.ms_per_memory": ("{0:.3f} ms/memory", "{0:.3f}ms/条"),
    "measured.speedup": ("{0:.2f}x", "{0:.2f}x"),
    "verdict.met": ("met", "✅ 达标"),
    "verdict.missed": ("missed", "⚠️ 未达标"),
    "verdict.near": ("missed", "⚠️ 接近目标"),
}

_ONE_MODEL: Final = {
    "stages.title": ("Stages, ms", "各阶段耗时 (ms)"),
    "stages.size": ("batch size", "批次大小"),
    "stages.parse": ("parse", "解析"),
    "stages.plan": ("plan", "规划"),
    "stages.tokenize": ("tokenize", "分词"),
    "stages.embed": ("embed", "嵌入"),
    "stages.commit": ("commit", "提交"),
    "stages.rest": ("rest", "其余"),
    "stages.caption": (
        "medians of each; commit is one durable transaction; the graph is built after, and apart",
        "各为中位数；提交是一次持久化事务；图索引在其后另行构建",
    ),
    "latency.title": ("Latencies, ms", "延迟 (ms)"),
    "latency.what": ("of", "操作"),
    "latency.n": ("n", "n"),
    "latency.p50": ("p50", "p50"),
    "latency.p95": ("p95", "p95"),
    "latency.p99": ("p99", "p99"),
    "latency.add": ("one add, until it is durable", "单次添加，直至持久化"),
    "latency.search": ("one search of {0:,} memories", "在 {0:,} 条记忆中搜索一次"),
    "scale.title": ("A store that grows: {0}", "随规模增长: {0}"),
    "scale.memories": ("memories", "记忆数"),
    "scale.ops": ("ops/s", "吞吐量"),
    "scale.index": ("graph, s", "建图 s"),
    "scale.p50": ("p50, ms", "p50 ms"),
    "scale.p95": ("p95, ms", "p95 ms"),
    "scale.recall": ("recall", "召回率"),
    "scale.bytes": ("bytes", "字节/条"),
    "scale.peak": ("peak MB", "峰值 MB"),
    "scale.caption": (
        "ops/s: of the memories since the row above, in batches of 1,000, without the graph; p50, p95: of a search; "
        "recall@10 of the graph against an exact scan; bytes of the store a memory; peak of resident memory",
        "吞吐量：自上一行以来新增的记忆，每批 1,000 条，不含建图；p50、p95：一次搜索；召回率：图索引对精确扫描的 "
        "recall@10；字节：存储中每条记忆；峰值：常驻内存",
    ),
    "rest.title": ("The rest", "其他指标"),
    "rest.what": ("what", "指标"),
    "rest.figure": ("figure", "数值"),
    "rest.tokens_per_s": ("tokens/s, best batch", "token/s，最佳批次"),
    "rest.ceiling": ("of what this machine's arithmetic allows", "占本机算力上限"),
    "rest.tokens": ("tokens a memory", "每条记忆的 token 数"),
    "rest.unknown": ("{0:.1f}, {1:.1%} of them unknown to the model", "{0:.1f}，其中 {1:.1%} 模型不认识"),
    "rest.cold": ("cold start, s", "冷启动 (s)"),
    "rest.cold_parts": (
        "{0:.2f}: process {1:.2f}, model {2:.2f}, first {3} memories {4:.2f}",
        "{0:.2f}：进程 {1:.2f}，模型 {2:.2f}，首批 {3} 条 {4:.2f}",
    ),
    "rest.peak": ("peak resident memory, MB", "常驻内存峰值 (MB)"),
    "rest.bytes": ("store, bytes a memory", "存储，字节/条"),
    "rest.index": ("building the graph of {0:,}, ms", "构建 {0:,} 条的图索引 (ms)"),
    "rest.recall": ("recall@10 of the graph", "图索引的 recall@10"),
    "rest.exact": ("{0:.4f} (against an exact scan)", "{0:.4f} (对精确扫描)"),
}

_MODELS: Final = {
    "models.title": (
        "Models: measured in turn within each repeat, on the same memories",
        "模型对比: 每次重复中依次测量，使用相同的记忆",
    ),
    "models.model": ("model", "模型"),
    "models.ops": ("ops/s", "吞吐量"),
    "models.interval": ("95 %", "95%"),
    "models.first": ("x first", "相对首个"),
    "models.single": ("x single", "批量加速比"),
    "models.caption": (
        "the best batch size of each; x first: against the first model; x single: against adds one by one",
        "各取最佳批次；相对首个：相对第一个模型；批量加速比：相对单个添加",
    ),
    "costs.title": ("Models: what they cost, and how like full precision they are", "模型开销，以及与全精度的接近程度"),
    "costs.model": ("model", "模型"),
    "costs.cold": ("cold, s", "冷启动 s"),
    "costs.peak": ("peak MB", "峰值 MB"),
    "costs.bytes": ("bytes each", "字节/条"),
    "costs.search": ("search p50", "搜索 p50"),
    "costs.cosine": ("cosine", "余弦"),
    "costs.near": ("near", "近邻"),
    "costs.caption": (
        "cold: a new process, until its first memories are durable; search: ms",
        "冷启动：新进程，直至首批记忆持久化；搜索：ms",
    ),
    "costs.reference": (
        "; cosine: in the median, to the vectors of {0}; near: the share of its 10 nearest texts that are nearest here "
        "too",
        "；余弦：与 {0} 向量的余弦中位数；近邻：其最近 10 条文本中在此同样最近的比例",
    ),
    "retrieval.title": ("Answers to labelled queries: {0}", "标注查询的检索质量: {0}"),
    "retrieval.mode": ("mode", "模式"),
    "retrieval.recall@1": ("recall@1", "recall@1"),
    "retrieval.recall@5": ("recall@5", "recall@5"),
    "retrieval.recall@10": ("recall@10", "recall@10"),
    "retrieval.mrr": ("MRR", "MRR"),
    "retrieval.ndcg@10": ("nDCG@10", "nDCG@10"),
    "retrieval.interval": ("95 %", "95%"),
    "retrieval.caption": (
        "{0:,} queries, asked of all memories of the workload's file; 95 %: of nDCG@10",
        "{0:,} 个查询，在负载文件的全部记忆中检索；95%：nDCG@10 的区间",
    ),
}  # fmt: skip

_GATE: Final = {
    "gate.title": ("Benchmark: {0} against {1}", "性能对比: {0} 对 {1}"),
    "gate.verdicts": ("New against base: {0}", "新版对基准: {0}"),
    "gate.results": ("two results", "两份结果"),
    "gate.rounds": ("{0} rounds, the two in turn", "{0} 轮，两者交替"),
    "gate.turns": (
        "; ratio: of each round the median of its turns' ratios, of the rounds the Hodges-Lehmann estimate",
        "；比值：每轮取各次交替之比的中位数，各轮合为 Hodges-Lehmann 估计",
    ),
    "gate.bounds": ("Gate", "门限"),
    "gate.model": ("model", "模型"),
    "gate.metric": ("metric", "指标"),
    "gate.base": ("base", "基准"),
    "gate.new": ("new", "新版"),
    "gate.figure": ("measured", "实际"),
    "gate.ratio": ("ratio", "比值"),
    "gate.interval": ("95 %", "95%"),
    "gate.bound": ("bound", "界限"),
    "gate.verdict": ("verdict", "判定"),
    "gate.caption": (
        "medians; regressed: the ratio's whole interval is below {0:.4g} (ops/s) or above {1:.4g} (the rest); "
        "inconclusive: a part of it is, or there are too few samples for one",
        "均为中位数；退化：比值的整个区间低于 {0:.4g} (ops/s) 或高于 {1:.4g} (其余)；"
        "无法判定：区间跨越界限，或样本太少",
    ),
    "gate.differs": ("not the same: {0}", "两者条件不同：{0}"),
    "gate.unmatched": ("Not compared: {0}", "未比较：{0}"),
    "metric.ops_per_s": ("ops/s", "吞吐量 ops/s"),
    "metric.ms_per_memory": ("ms/memory", "平均延迟 ms/条"),
    "metric.speedup": ("speed-up, x", "批量加速比 x"),
    "metric.recall": ("recall@10", "图索引 recall@10"),
    "metric.add_ms": ("one add, ms", "单次添加 ms"),
    "metric.search_ms": ("search, ms", "搜索 ms"),
    "metric.peak_resident_bytes": ("peak MB", "峰值 MB"),
    "metric.bytes_per_memory": ("bytes each", "字节/条"),
    "outcome.met": ("met", "✅ 达标"),
    "outcome.missed": ("missed", "⚠️ 未达标"),
    "outcome.ok": ("ok", "✅ 正常"),
    "outcome.improved": ("improved", "✅ 提升"),
    "outcome.inconclusive": ("inconclusive", "⚠️ 无法判定"),
    "outcome.regressed": ("regressed", "❌ 退化"),
}

TEXTS: Final[dict[str, tuple[str, str]]] = {**_HEADER, **_SEED, **_ONE_MODEL, **_MODELS, **_GATE, **SENTENCES}


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language."""

    lang: Lang = "en"

    def __call__(self, key: str, *values: float | str) -> str:
        """What is said for a key, with the values in it; empty where this language leaves it out."""
        return TEXTS[key][LANGS.index(self.lang)].format(*values)
