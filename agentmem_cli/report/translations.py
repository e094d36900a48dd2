"""What reports say, in English and in Chinese: each key has both, and the Chinese has the words of the seed's report.

A heading or title that is empty in a language leaves that column, line or table out of it: the seed's tables have the
seed's headings, and no others.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

_WARNINGS: Final = {  # by kind; English has the warning's own sentence
    "warning.noisy": ("", "{model} 的结果有噪声：批次 {batch_sizes} 的中位数不确定度超过 25%"),
    "warning.drift": ("", "{model} 从首次重复到末次重复变化了 {change:+.0%} (总时间)，可能是过热或其他负载"),
    "warning.load": ("", "开始时机器繁忙：{cores:.0f} 核上平均负载 {load_average:.1f}"),
    "warning.few-samples": ("", "仅 {repeats} 次重复，不足以得出 95% 区间，耗时均无法判定：至少用 5 次"),
    "warning.unknown-tokens": (
        "",
        "负载中 {unknown_token_ratio:.0%} 的 token 是 {model} 不认识的：速度真实，但对这类文本的搜索没有意义",
    ),
    "warning.truncated": ("", "{truncated} 条文本超出 {model} 可读的长度，已被截断"),
    "warning.duplicates": ("", "{duplicates} 行的文本或 id 重复，已排除：同一文本只嵌入一次，否则结果会偏快"),
    "warning.labels": ("", "{unlabelled} 个查询没有相关 id，已排除；{missing} 个相关 id 不属于任何记忆，按未找到计"),
    "warning.no-disk": ("", "临时目录不在磁盘上，持久化在此没有代价：请将 TMPDIR 设为磁盘上的目录"),
    "warning.slowed": ("", "测试开关使本次运行变慢 {share:.0%}"),
}  # fmt: skip

_PLOTS: Final = {
    "plot.throughput": ("Throughput by batch size", "不同批次大小的吞吐量"),
    "plot.throughput.note": (
        "Medians, with 95 % intervals; the dashed line is the target.",
        "中位数与 95% 区间；虚线为目标。",
    ),
    "plot.batches": ("Each batch, by batch size", "每个批次的耗时"),
    "plot.batches.note": ("A dot a repeat; the bar is the median.", "每点为一次重复；横线为中位数。"),
    "plot.adds": ("One add, until it is durable", "单次添加，直至持久化"),
    "plot.searches": ("One search", "单次搜索"),
    "plot.share.note": (
        "How many were at most so long: the line of a quick and steady one rises early and steeply.",
        "耗时不超过该值的比例：越快越稳定，曲线上升越早越陡。",
    ),
    "plot.stages": ("Where the time goes", "时间花在哪里"),
    "plot.stages.note": (
        "Shares of the median batch; the figure is its ms a memory.",
        "占批次中位数的比例；数字为每条记忆的毫秒数。",
    ),
    "plot.scale": ("A store that grows", "随规模增长"),
    "plot.scale.note": (
        "Ingest without the graph; search p50 (line) and p95 (dotted); bytes of all files of the store.",
        "写入不含建图；搜索 p50（实线）与 p95（点线）；存储全部文件的字节数。",
    ),
    "plot.quality": ("Speed and quality", "速度与质量"),
    "plot.quality.note": (
        "To the right is faster, up is better; bars are 95 % intervals.",
        "越靠右越快，越靠上越好；误差线为 95% 区间。",
    ),
    "plot.ef": ("Recall against latency of the graph", "图索引的召回率与延迟"),
    "plot.ef.note": (
        "The numbers are values of ef, large points those in use; p50 (line) and p95 (dotted).",
        "数字为 ef 的取值，大点为当前所用；p50（实线）与 p95（点线）。",
    ),
    "axis.recall": ("recall@10", "recall@10"),
    "axis.graph": ("search of the graph, ms", "图索引搜索 ms"),
    "axis.size": ("batch size", "批次大小"),
    "axis.ops": ("memories/s", "条/s"),
    "axis.each": ("ms a memory", "ms/条"),
    "axis.ms": ("ms", "ms"),
    "axis.share": ("share", "比例"),
    "axis.memories": ("memories in the store", "存储中的记忆数"),
    "axis.bytes": ("bytes a memory", "字节/条"),
    "axis.search": ("search, ms", "搜索 ms"),
    "axis.near": ("nearest 10 shared with {0}", "与 {0} 共有的最近 10 条"),
    "plot.target": ("target 5,000", "目标 5,000"),
}

_GLOSSARY: Final = {
    "term.batch": ("batch size", "批次大小"),
    "mean.batch": (
        "How many memories are taken in as one transaction: parsed, embedded, durable on the disk and searchable.",
        "一次事务写入的记忆数：解析、嵌入、落盘持久化并可搜索。",
    ),
    "term.total": ("total, ms/memory, ops/s", "总时间、平均延迟、吞吐量"),
    "mean.total": (
        "The median time of such a batch into a fresh store, the same by memory, and memories a second.",
        "该批次写入新存储的中位时间，折合每条的时间，以及每秒条数。",
    ),
    "term.interval": ("95 %", "95%"),
    "mean.interval": (
        "A bootstrap interval, from 5 repeats on: about 19 of 20 such intervals hold the true figure. A verdict is not "
        "certain where its interval holds the bound, or where there is none.",
        "自助法区间，至少需 5 次重复：这样的区间 20 次中约有 19 次包含真值。区间跨越界限或没有区间时，无法判定。",
    ),
    "term.target": ("% of target", "目标达成率"),
    "mean.target": ("The share of 5,000 memories a second.", "占每秒 5,000 条的比例。"),
    "term.stages": ("parse, plan, tokenize, embed, commit, rest", "解析、规划、分词、嵌入、提交、其余"),
    "mean.stages": (
        "JSON to memories; what they change in the store; text to tokens; tokens to vectors; one durable transaction; "
        "what lies between these.",
        "JSON 转为记忆；判断存储中的变化；文本转为 token；token 转为向量；一次持久化事务；其间的其余时间。",
    ),
    "term.speedup": ("speed-up", "加速比"),
    "mean.speedup": (
        "The time of adding memories one by one, each durable, over that of as many, equally long, in one batch: "
        "the median of the repeats' ratios.",
        "逐条添加记忆（每条均持久化）的时间，除以同样多、同样长的记忆作为一个批次的时间：取各次重复之比的中位数。",
    ),
    "term.ratio": ("ratio", "比值"),
    "mean.ratio": (
        "The rate over that of the fewest clients, or of the same work alone: the median of the ratios of the rounds.",
        "与最少客户端或单独进行时的速率之比：各轮比值的中位数。",
    ),
    "term.ef": ("ef", "ef"),
    "mean.ef": (
        "How many candidates a search of the graph keeps: more find more of the nearest, and take longer.",
        "图索引搜索时保留的候选数：越大召回率越高，耗时也越长。",
    ),
    "term.quantiles": ("n, p50, p95, p99", "n、p50、p95、p99"),
    "mean.quantiles": (
        "How many were timed, and what 50, 95 and 99 of 100 did not exceed; - where n is too small to tell.",
        "测量次数，以及 100 次中 50、95、99 次未超过的值；n 太小无法判断时为 -。",
    ),
    "term.recall": ("recall of the graph", "图索引的召回率"),
    "mean.recall": (
        "Of the 10 nearest vectors by an exact scan, the share that the graph found.",
        "精确扫描所得最近 10 个向量中，图索引找到的比例。",
    ),
    "term.ceiling": ("of what this machine's arithmetic allows", "占本机算力上限"),
    "mean.ceiling": (
        "The model's operations a second over those of large float32 products measured in between.",
        "模型每秒运算量，除以其间测得的大型 float32 矩阵乘的每秒运算量。",
    ),
    "term.cold": ("cold start", "冷启动"),
    "mean.cold": (
        "A new process, until it has loaded the model and its first memories are durable.",
        "新进程，直至加载模型且首批记忆持久化。",
    ),
    "term.peak": ("peak resident memory", "常驻内存峰值"),
    "mean.peak": (
        "The most that a process of its own, which fills the store and searches it, had in memory.",
        "单独的进程在写入并搜索存储时占用的最大内存。",
    ),
    "term.bytes": ("bytes a memory", "字节/条"),
    "mean.bytes": (
        "All files of the store, the graph among them, over its memories.",
        "存储的全部文件（含图索引）除以记忆数。",
    ),
    "term.cosine": ("cosine, near", "余弦、近邻"),
    "mean.cosine": (
        "How like the fp32 model's vectors of the same texts the model's are, and the share of the 10 nearest texts "
        "that both agree on.",
        "与 fp32 模型对相同文本的向量的接近程度，以及两者一致的最近 10 条文本的比例。",
    ),
    "term.retrieval": ("recall@k, MRR, nDCG@10", "recall@k、MRR、nDCG@10"),
    "mean.retrieval": (
        "Of a query's relevant memories the share among the first k; one over the rank of the first; and the first 10 "
        "with the early ones counting more. Means over the queries.",
        "相关记忆中排在前 k 的比例；首个相关记忆排名的倒数；前 10 名按位置加权的得分。均为各查询的平均值。",
    ),
}

SENTENCES: Final[dict[str, tuple[str, str]]] = {**_WARNINGS, **_PLOTS, **_GLOSSARY}


Lang: TypeAlias = Literal["en", "zh"]
LANGS: Final[tuple[Lang, ...]] = get_args(Lang)

_HEADER: Final = {
    "title": ("Benchmark of {0}", "{0}: 批量模式性能测试报告"),
    "header.date": ("measured", "测试日期"),
    "header.tool": ("with", "测试工具"),
    "header.machine": ("machine", "测试环境"),
    "header.versions": ("versions", "软件版本"),
    "header.store": ("stores", "存储"),
    "header.workload": ("workload", "测试负载"),
    "header.method": ("method", "测试方法"),
    "header.ceiling": ("this machine's own ceiling", "本机上限"),
    "header.interrupted": ("interrupted", "已中断"),
    "machine": ("{0}, {1} cores{2} · {3} · Python {4}", "{0}，{1} 核{2} · {3} · Python {4}"),
    "machine.memory": (", {0:.0f} GiB", "，{0:.0f} GiB"),
    "workload": ("{0}, {1:,} memories", "{0}，{1:,} 条记忆"),
    "workload.repeats": (", {0:.0%} of a batch with a repeated text", "，每批 {0:.0%} 的文本重复"),
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
    "warnings": ("Warnings", "注意事项"),
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
    "comparison.title": ("Single against batch: {0} memories each", "单个 vs 批量对比测试 ({0}条)"),
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
    "comparison.effect": ("effect of batching", "批量优化效果"),
    "comparison.alike": (
        "{0:.0f} tokens a memory, as in the batches above",
        "每条平均 {0:.0f} 个 token，与上表批次相同",
    ),
    "comparison.other": (
        "other texts than in the batches above: {0:.0f} tokens a memory, there {1:.0f}, so figures for one size differ",
        "文本与上表批次不同：此处每条平均 {0:.0f} 个 token，上表 {1:.0f} 个，因此相同条数的数字不同",
    ),
    "effect.excellent": ("excellent (5x or more)", "✅ 优秀 (5x 以上)"),
    "effect.good": ("good (3-5x)", "✅ 良好 (3-5x)"),
    "effect.fair": ("fair (2-3x)", "⚠️ 一般 (2-3x)"),
    "effect.poor": ("poor (below 2x)", "❌ 较差 (2x 以下)"),
    "actual.title": ("", "性能分析"),
    "actual.figure": ("", "实际性能"),
    "actual.target": ("", "目标性能"),
    "actual.gap": ("", "差距"),
    "actual.of_batch": ("", "{0:.2f} ops/s (批次{1})"),
    "actual.wanted": ("", "{0:,.0f} ops/s"),
    "actual.met": ("", "已达到目标 ({0:.0%} of target)"),
    "actual.missed": ("", "未达到目标 ({0:.0%} of target)"),
    "actual.inconclusive": ("", "无法判定是否达到目标 ({0:.0%} of target)"),
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
    "latency.batch": ("one batch while a store grows to {0:,} memories", "存储增长到 {0:,} 条记忆时的一个批次"),
    "server.title": ("Searches on the server, of {0:,} memories", "服务器上的搜索: {0:,} 条记忆"),
    "server.mode": ("mode", "模式"),
    "server.memories": ("among", "范围"),
    "server.one": ("those of one user", "单个用户"),
    "server.all": ("all", "全部"),
    "server.n": ("n", "n"),
    "server.p50": ("p50, ms", "p50 ms"),
    "server.p95": ("p95, ms", "p95 ms"),
    "server.p99": ("p99, ms", "p99 ms"),
    "server.trips": ("round trips", "往返次数"),
    "server.caption": (
        "for 10 memories, embedding of the query included; the memories are those of 100 users, in equal shares; round "
        "trips: requests to the server, a search",
        "搜索 10 条记忆，含查询嵌入；记忆平均属于 100 个用户；往返次数：每次搜索向服务器发出的请求数",
    ),
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
        "not certain: a part of it is, or there are too few samples for one",
        "均为中位数；退化：比值的整个区间低于 {0:.4g} (ops/s) 或高于 {1:.4g} (其余)；"
        "无法判定：区间跨越界限，或样本太少",
    ),
    "gate.differs": ("not the same: {0}", "两者条件不同：{0}"),
    "gate.unmatched": ("Not compared: {0}, which only {1} has", "未比较：{0}，仅 {1} 有"),
    "phases.title": ("Against {0}", "与 {0} 对比"),
    "phases.what": ("what", "项目"),
    "phases.batch": ("batch of {0}", "批量{0}条"),
    "phases.single": ("one by one, {0}", "单个添加{0}条"),
    "phases.speedup": ("speed-up, {0}", "批量加速比 ({0}条)"),
    "phases.why": ("Reasons for differences:", "差异原因:"),
    "phases.reason": ("{0}: {1} has {2}, {3} has {4}", "{0}：{1} 使用 {2}，{3} 使用 {4}"),
    "phases.alike": (
        "Machine, model, workload and options are the same.",
        "机器、模型、负载与选项均相同。",
    ),
    "condition.cpu": ("CPU", "CPU"),
    "condition.cores": ("cores", "核数"),
    "condition.memory, GiB": ("memory, GiB", "内存 GiB"),
    "condition.system": ("system", "操作系统"),
    "condition.device": ("device", "设备"),
    "condition.threads": ("threads", "线程数"),
    "condition.models": ("model", "模型"),
    "condition.workload": ("workload", "负载"),
    "condition.texts": ("texts", "文本"),
    "condition.complete": ("complete", "完整"),
    "condition.agentmem": ("agentmem", "agentmem"),
    "condition.repeats": ("repeats", "重复次数"),
    "condition.warm-up": ("warm-ups", "预热次数"),
    "metric.ops_per_s": ("ops/s", "吞吐量 ops/s"),
    "metric.ms_per_memory": ("ms/memory", "平均延迟 ms/条"),
    "metric.speedup": ("speed-up, x", "批量加速比 x"),
    "metric.recall": ("recall@10", "图索引 recall@10"),
    "metric.add_ms": ("one add, ms", "单次添加 ms"),
    "metric.search_ms": ("search, ms", "搜索 ms"),
    "metric.peak_resident_bytes": ("peak MB", "峰值 MB"),
    "metric.bytes_per_memory": ("bytes each", "字节/条"),
    "metric.recall@1": ("recall@1", "recall@1"),
    "metric.recall@5": ("recall@5", "recall@5"),
    "metric.recall@10": ("recall@10", "recall@10"),
    "metric.recall@20": ("recall@20", "recall@20"),
    "metric.mrr": ("MRR", "MRR"),
    "metric.ndcg@10": ("nDCG@10", "nDCG@10"),
    "outcome.met": ("met", "✅ 达标"),
    "outcome.missed": ("missed", "⚠️ 未达标"),
    "outcome.near": ("missed", "⚠️ 接近目标"),
    "outcome.ok": ("ok", "✅ 正常"),
    "outcome.improved": ("improved", "✅ 提升"),
    "outcome.inconclusive": ("not certain", "⚠️ 无法判定"),
    "outcome.regressed": ("regressed", "❌ 退化"),
}

_FINDINGS: Final = {
    "analysis": ("What limits it", "🔍 关键发现：性能瓶颈分析"),
    "advice": ("What would help", "📈 性能优化建议"),
    "advice.title": ("Remedies, predicted and tried", "优化措施：预期与实测"),
    "advice.remedy": ("remedy", "优化措施"),
    "advice.predicted": ("predicted", "预期"),
    "advice.measured": ("measured", "实测"),
    "advice.interval": ("95 %", "95%"),
    "advice.cost": ("what it costs", "代价"),
    "advice.caption": (
        "how many times as fast; predicted from the stages of this run and the ceilings of this machine, then tried in "
        "turn with the base",
        "均为速度倍数；预期值由本次各阶段耗时与本机上限推算，实测值与基准交替测得",
    ),
    "remedy.int8": ("--model minilm-int8", "int8 量化：--model minilm-int8"),
    "remedy.static": ("--model minilm-static", "静态模型：--model minilm-static"),
    "remedy.threads": ("threads: {0}", "线程数：{0}"),
    "remedy.gpu": ("--device cuda", "GPU：--device cuda"),
    "remedy.server": ("a server that answers after {0} ms", "{0} ms 后应答的嵌入服务"),
    "remedy.repeats": ("{0} of texts repeated", "{0} 的文本重复（嵌入缓存）"),
    "remedy.larger": ("batches of {0}", "批次 {0}"),
    "remedy.clients": ("{0} clients at once", "{0} 个客户端同时添加"),
    "price.static": (
        "nDCG@10 {0:.3f}, not {1:.3f} (LoCoMo, measured before)",
        "nDCG@10 为 {0:.3f}，原模型 {1:.3f}（LoCoMo，先前测得）",
    ),
    "price.cosine": ("cosine {0:.4f} to this model's vectors", "与原向量的余弦 {0:.4f}"),
    "price.threads": ("none: it frees the other cores", "无：其余核心空闲"),
    "price.gpu": ("a GPU, and fastembed-gpu", "需要 GPU 与 fastembed-gpu"),
    "price.server": ("a server; here one that only waits", "需要一台服务器；此处的只等待、不计算"),
    "price.repeats": ("none: only where texts repeat", "无：仅对重复文本有效"),
    "price.larger": ("add_batch or --flush-interval: memories wait", "add_batch 或 --flush-interval：记忆需等待"),
    "price.clients": ("threads or tasks that add at once", "需多个线程或任务同时添加"),
    "targets": ("Targets and bounds", "✅ 完成状态"),
    "next": ("Next steps", "🎯 下一步建议"),
    "next.keep": (
        "Go on with this model: {0} made it {1:.2f}x as fast here, some {2:,.0f} memories/s.",
        "继续优化此模型：{0} 实测提升到 {1:.2f} 倍，约 {2:,.0f} 条/s。",
    ),
    "next.accept": (
        "Accept it: {0:,.0f} memories/s are a million in {1:,.0f} minutes.",
        "接受当前性能：{0:,.0f} 条/s，即 {1:,.0f} 分钟写入一百万条。",
    ),
    "next.small": (
        "Small batches: of a batch of {0}, {1} is {2:.0%}, and {3:.0%} does not depend on its size. Measured: {4}.",
        "专注小批量：批次 {0} 中{1}占 {2:.0%}，与批次大小无关的固定开销占 {3:.0%}。实测：{4}。",
    ),
    "next.comma": (", ", "，"),
    "hint.static": (
        "Embedding is {0:.0%} of the time, and --model minilm-static all but saves it, at nDCG@10 {1:.3f} against "
        "{2:.3f} (LoCoMo, hybrid, measured before). --advise tries this and more.",
        "嵌入占 {0:.0%} 的时间；--model minilm-static 几乎可将其省去，nDCG@10 为 {1:.3f}，原模型 {2:.3f}"
        "（LoCoMo，混合检索，先前测得）。--advise 可实测各项措施。",
    ),
    "hint.any": ("--advise tries what would make it faster.", "--advise 可实测各项优化措施。"),
    "part.embedding": ("embedding", "嵌入"),
    "part.commit": ("the commit", "提交"),
    "part.reading": ("reading and planning", "解析与规划"),
    "part.rest": ("the rest", "其余部分"),
    "found.longest": (
        "The longest part is {0}: {1:.0%} of the time of a batch of {2}.",
        "{0}耗时最多：占批次 {2} 时间的 {1:.0%}。",
    ),
    "found.both": (
        "The longest part is {0}: {1:.0%} of the time of a batch of {2}, and {3:.0%} of a batch of {4}.",
        "{0}耗时最多：占批次 {2} 时间的 {1:.0%}，占批次 {4} 的 {3:.0%}。",
    ),
    "found.two": (
        "The longest part of a batch of {2} is {0}: {1:.0%} of its time; of a batch of {5} it is {3}: {4:.0%}.",
        "批次 {2} 中{0}耗时最多，占 {1:.0%}；批次 {5} 中则是{3}，占 {4:.0%}。",
    ),
    "found.ceiling": (
        "The model runs at {0:.0%} of the rate of this machine's large matrix products: faster code for the same "
        "arithmetic could gain {1:.1f}x at most.",
        "模型的运算速度是本机大型矩阵乘的 {0:.0%}：相同运算即使换用更快的代码，最多也只能提升到 {1:.1f} 倍。",
    ),
    "found.cores": (
        "A batch of {0} keeps {1:.1f} of {2} cores busy: what limits it runs in one thread.",
        "批次 {0} 平均占用 {2} 核中的 {1:.1f} 核：瓶颈部分是单线程。",
    ),
    "found.fsync": (
        "A commit takes {0:.2f} ms whatever its size; one fsync of this disk takes {1:.2f} ms.",
        "每次提交的固定开销为 {0:.2f} ms，与批次大小无关；本机磁盘一次 fsync 为 {1:.2f} ms。",
    ),
    "found.batching": (
        "A batch costs {0:.2f} ms, most of it {1}, and {2:.3f} ms for each memory, most of it {3}. In the comparison, "
        "a memory takes {4:.2f} ms by itself and {6:.3f} ms in a batch without that cost: no batch is more than "
        "{5:.1f}x as fast.",
        "每个批次的固定开销为 {0:.2f} ms（主要是{1}），每条记忆另需 {2:.3f} ms（主要是{3}）。"
        "对比测试中单条添加需 {4:.2f} ms，批量中不计固定开销为 {6:.3f} ms/条：批量最多可提升到 {5:.1f} 倍。",
    ),
    "found.storage": (
        "Without embedding, storage alone would take {0:,.0f} memories/s: reading, history, words and the commit are "
        "{1:.1%} of the time and limit nothing here.",
        "若不计嵌入，仅存储即可达 {0:,.0f} 条/s：解析、历史、词索引与提交合计只占 {1:.1%}，不是瓶颈。",
    ),
}

_CLIENTS: Final = {
    "calls.who": ("clients", "客户端"),
    "calls.rate": ("calls/s", "次/s"),
    "calls.interval": ("95 %", "95%"),
    "calls.ratio": ("ratio", "比值"),
    "calls.p50": ("p50, ms", "p50 ms"),
    "calls.p95": ("p95, ms", "p95 ms"),
    "calls.p99": ("p99, ms", "p99 ms"),
    "workers.title": ("Ingests by workers on a Ray cluster: {0:,} memories", "Ray 集群上的工作进程写入: {0:,} 条记忆"),
    "workers.who": ("workers", "工作进程"),
    "workers.rate": ("memories/s", "条/s"),
    "workers.interval": ("95 %", "95%"),
    "workers.ratio": ("ratio", "比值"),
    "workers.ratio_interval": ("95 %", "95%"),
    "workers.caption": (
        "each with one thread, into a fresh store; from the first durable block to the last, without the start of the "
        "workers; ratio: to the first row, within each round",
        "每个工作进程一个线程，写入新存储；从首个落盘的块到最后一个，不含工作进程的启动；比值：同一轮内与首行之比",
    ),
    "clients.adds": ("Threads that add at once", "多线程添加"),
    "clients.adds_caption": (
        "threads that share one AgentMem; each add is one memory, durable when it returns; ratio: to the first row, "
        "within each round",
        "多个线程共用一个 AgentMem；每次添加一条记忆，返回时已持久化；比值：每轮内与首行相比",
    ),
    "clients.searches": ("Threads that search at once: a store of {0:,}", "多线程搜索 ({0:,} 条记忆)"),
    "clients.searches_caption": (
        "hybrid searches for 10 memories, the embedding of the query included; calls/s are QPS",
        "混合检索，返回 10 条，含查询的嵌入；次/s 即 QPS",
    ),
    "clients.gain": ("{0} threads against {1}", "{0} 线程与 {1} 线程之比"),
    "clients.ratio": ("{0:.2f}x (95 %: {1})", "{0:.2f}x (95%：{1})"),
    "clients.earlier": ("Phase 1 of an earlier report, threads in fast mode", "Phase 1 多线程 (快速模式)"),
    "clients.answer": (
        "{0:,.0f} ops/s; here at most {1} (threads: {2}), and every add is durable",
        "{0:,.0f} ops/s；本次最高 {1} ops/s ({2} 线程)，每次添加均已持久化",
    ),
    "processes.title": ("Processes that search while one adds: a store of {0:,}", "多进程搜索与写入 ({0:,} 条记忆)"),
    "processes.search": ("{0} searching", "{0} 个搜索"),
    "processes.search_beside": ("{0} searching, beside 1 adding", "{0} 个搜索，同时 1 个写入"),
    "processes.add": ("1 adding", "1 个写入"),
    "processes.add_beside": ("1 adding, beside {0} searching", "1 个写入，同时 {0} 个搜索"),
    "processes.caption": (
        "searches are hybrid, adds one memory each; ratio: to the same work alone, within each round",
        "搜索为混合检索，每次写入一条记忆；比值：每轮内与单独进行时相比",
    ),
    "ef.title": ("Recall against latency: the graph of {0:,}", "召回率与延迟: {0:,} 条记忆的图索引"),
    "ef.ef": ("ef", "ef"),
    "ef.used": ("used by", "当前用于"),
    "ef.recall": ("recall@10", "recall@10"),
    "ef.p50": ("p50, ms", "p50 ms"),
    "ef.p95": ("p95, ms", "p95 ms"),
    "ef.hybrid": ("search", "默认搜索"),
    "ef.meaning": ("search --mode meaning", "search --mode meaning"),
    "ef.caption": (
        "a search of the graph alone for 10 vectors, against an exact scan; used by: a search for 10 memories",
        "仅在图索引中查找 10 个向量，与精确扫描相比；当前用于：返回 10 条记忆的搜索",
    ),
}

TEXTS: Final[dict[str, tuple[str, str]]] = {
    **_HEADER,
    **_SEED,
    **_ONE_MODEL,
    **_MODELS,
    **_FINDINGS,
    **_CLIENTS,
    **_GATE,
    **SENTENCES,
}


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language."""

    lang: Lang = "en"

    def __call__(self, key: str, *values: float | str) -> str:
        """What is said for a key, with the values in it; empty where this language leaves it out."""
        return TEXTS[key][LANGS.index(self.lang)].format(*values)
