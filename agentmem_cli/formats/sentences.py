"""The longer things that reports say, in English and in Chinese: warnings, plots, and what the columns mean."""

from typing import Final

_WARNINGS: Final = {  # by kind; English has the warning's own sentence
    "warning.noisy": ("", "{model} 的结果有噪声：批次 {batch_sizes} 的中位数不确定度超过 25%"),
    "warning.drift": ("", "{model} 从首次重复到末次重复变化了 {change:+.0%} (总时间)，可能是过热或其他负载"),
    "warning.load": ("", "开始时机器繁忙：{cores:.0f} 核上平均负载 {load_average:.1f}"),
    "warning.few-samples": ("", "仅 {repeats} 次重复，难以判断离散程度：至少用 3 次"),
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
        "To the right is quicker, up is better; bars are 95 % intervals.",
        "越靠右越快，越靠上越好；误差线为 95% 区间。",
    ),
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
        "A bootstrap interval: such intervals hold the true figure about 19 times of 20; few repeats make them rough.",
        "自助法区间：这样的区间 20 次中约有 19 次包含真值；重复次数少则较粗略。",
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
        "The time of adding the same memories one by one, each durable, over that of one batch.",
        "相同记忆逐条添加（每条均持久化）的时间，除以一个批次的时间。",
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
