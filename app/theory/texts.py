"""What the cards of the Theory page say: paragraphs, formulas, questions, answers, sources. Data alone."""

from app.theory.card import Words

_GELORA = "Ed-dib, Datbayev & Aboussalah, GeLoRA, Findings of EMNLP 2025, [arXiv 2412.09250](https://arxiv.org/abs/2412.09250)"

DIMENSION = Words(
    "What intrinsic dimension is",
    "Points may fill fewer directions than they have coordinates. The intrinsic dimension (ID) says how the number of neighbors "
    "$C(r)$ grows with the radius: doubling $r$ doubles it on a curve and quadruples it on a surface. Measured data have the ID of a "
    "*scale*: below the noise, points fill every coordinate; above the bends, a rolled-up curve looks like a surface.",
    (r"C(r) \propto r^{d} \qquad d(r) = \frac{\mathrm d \log C(r)}{\mathrm d \log r}",),
    "The spiral is a curve. Where on the radius does it read 1, and why not elsewhere?",
    "Between the noise and the distance of two turns. Under the noise the points spread in both coordinates (with few neighbors, so the "
    "curve is rough); once the ball reaches the next turn, neighbors come from all sides, and the spiral reads almost 2. At radii near "
    "the size of the whole shape there is nothing left to reach and the exponent falls.",
    "Grassberger & Procaccia, Physica D 9 (1983); Facco et al., Scientific Reports 7, 12140 (2017).",
)

TWONN = Words(
    "What TwoNN does",
    "TwoNN looks at the smallest scale there is: the ratio $\\mu$ of each point's second to its first neighbor's distance. Where the "
    "density is even over two neighbors, $\\mu$ follows a Pareto law whose exponent is the dimension, whatever the density is. The law's "
    "logarithm is a line through the origin, and its slope the estimate.",
    (r"\mu = \tfrac{r_2}{r_1}, \quad F(\mu) = 1 - \mu^{-d}", r"-\log\bigl(1 - F(\mu)\bigr) = d \log \mu"),
    "Raise d to 20 with 1000 points. Why is the slope too low, and would more points mend it?",
    "Almost all of a 20-dimensional cube lies near its border, and 1000 points are so far apart that the density is not even over two "
    "neighbors. The ratios come out too large and the slope too low. More points help, but slowly: how many are needed grows "
    "exponentially with d. The interval does not see this bias; it says how much the answer varies from draw to draw.",
    "Facco, d'Errico, Rodriguez & Laio, Scientific Reports 7, 12140 (2017).",
)

SINKS = Words(
    "What attention sinks do to it",
    "In nearly every recent decoder a few tokens, the first of a text and some delimiters, carry activations many times the rest: heads "
    "that have nothing to look for look there. Pooled with the others, such a token $s$ is nearly the same long vector in every text, "
    "divided by the text's length $T$. The mean then lies near one line, and its place on it says how long the text is.",
    (r"\bar h = \frac{1}{T} \Bigl(s + \sum_{t=2}^{T} h_t\Bigr) \approx \frac{s}{T}",),
    "Raise the norm from 1. Which estimator gives way most, and why does TwoNN hold out longest?",
    "MLE, which looks at 20 neighbors. Texts of one length have the sink at nearly one place, so a text's two nearest neighbors are "
    "often of its own length, and among these the content still decides who is near; 20 of them are not to be found there. So where "
    "estimators that look at different numbers of neighbors disagree, look for sinks before looking for geometry. "
    "With few dimensions the length adds one instead. A token just under the threshold stays in: five medians are a convention.",
    "Xiao et al., [arXiv 2309.17453](https://arxiv.org/abs/2309.17453); Sun et al., Massive Activations, "
    "[arXiv 2402.17762](https://arxiv.org/abs/2402.17762); what it does to the dimension is measured here.",
)

MAP = Words(
    "Why a block that raises the ID needs rank",
    "A smooth map cannot make new dimensions: its image has at most as many as its Jacobian has rank on the tangent space, "
    "which is at most the dimension that came in. So a linear map of rank $r$ gives at most $\\min(d, r)$. The first line is "
    "GeLoRA's Theorem 3.2: a block's rank is at least the dimension of what it puts out. It says nothing of a *rise*. A "
    "*residual* map $x + Q\\,a$ keeps $x$ and adds an update in $r$ directions; whatever $a$ depends on, noise or other tokens "
    "included, it adds at most $r$: the third line, and the sense in which a measured rise asks for rank.",
    (
        r"\dim f(M) \le \max_{x \in M} \operatorname{rank} J_f(x)\big|_{T_xM}",
        r"\operatorname{rank} J_f\big|_{T_xM} \le \min(\dim M,\ \operatorname{rank} J_f)",
        r"f = x + Q\,a \;\Rightarrow\; \dim f(M) - \dim M \le r",
    ),
    "Choose the residual map and no context, then 4 numbers of context. The rank of the update is the same: why does the ID "
    "rise only once?",
    "Without context the output is a function of the input, and no smooth function raises a dimension: $J$ has rank $d$ on the "
    "tangent space. With context the output depends on numbers that the input does not hold, so it is the image of $M "
    "\\times \\mathbb R^k$. The rise is now real, and the update's rank bounds it. One token's state in a transformer is in "
    "this second case: attention brings in the other tokens. Where a verdict reads *does not hold*, the estimate is at "
    "fault, not the theorem: a measured ID carries bias, curvature and noise.",
    f"{_GELORA}, Theorem 3.2 (the first line); Lee, Introduction to Smooth Manifolds (2013), chapters 4 and 6.",
)

BLOCK = Words(
    "The same on a real block",
    "The map here is exact: the state of *one position* of a text on entering a block, to the state of the same position on "
    "leaving it, the states of all other positions held fixed. Random probes $S$ give the leading singular values of its "
    "Jacobian without forming it, and a lower bound of its rank. $J - I$ is the derivative of output minus input.",
    (r"Y = J^{\top} S,\quad Q = \operatorname{orth}(Y)", r"\sigma_i(J Q) \le \sigma_i(J)"),
    "The Jacobian's rank is near the width, the measured ID far below it. Is the theorem wrong, or of no use here?",
    "It is right and loose. A pretrained block is close to invertible, so its rank is the width (less two where the block "
    "ends in a LayerNorm, which fixes a mean and a length), and any ID is below that. Nor does the rank of the update bound "
    "the rise any tighter: $J - I$ is nearly full as well. It says something for an update that is *held* to few directions, as LoRA's is. "
    "And the measured ID belongs to pooled states: a text's mean over tokens is not a function of the mean that entered, so "
    "its ID can rise although no smooth map raises a dimension.",
    f"Halko, Martinsson & Tropp, SIAM Review 53 (2011), algorithm 4.1; {_GELORA}, Theorem 3.2.",
)

UPDATE = Words(
    "What a LoRA update of rank r is",
    "LoRA leaves a weight matrix $W_0$ as it is and learns two thin factors beside it. Their product has as many entries as "
    "$W_0$ and only $r$ singular values that are not zero, so it moves outputs in at most $r$ directions. $B$ begins at "
    "zero: before training the update is nothing at all.",
    (
        r"W = W_0 + \tfrac{\alpha}{r} B A",
        r"B \in \mathbb R^{m \times r},\ A \in \mathbb R^{r \times n} \;\Rightarrow\; \operatorname{rank} BA \le r",
    ),
    "Does an adapter of rank r use all of its r directions?",
    "It may: random factors do, with almost equal weight. Training often does not. The effective rank of a trained adapter "
    "counts its directions by their share and is below r where few of them carry the update. That r was not used up does not "
    "prove that a smaller r would have trained as well.",
    "Hu et al., LoRA, [arXiv 2106.09685](https://arxiv.org/abs/2106.09685); effective rank: Roy & Vetterli, EUSIPCO (2007).",
)

FISHER = Words(
    "Fisher information and local dimensionality",
    "How many parameters matter? Locally, the rank of the Fisher information matrix counts the directions in which the "
    "model's predictions change at all. Here it is exact, for one linear layer with softmax. On data that bend through all "
    "coordinates its rank is full however few dimensions the data have, so it gives no small number to choose a rank by, and "
    "the argument turns to the ID of the states instead.",
    (
        r"F = \mathbb E_x\bigl[(\operatorname{diag} p - p\,p^{\top}) \otimes x\,x^{\top}\bigr]",
        r"\operatorname{rank} F \le (C - 1)\,\operatorname{rank} X",
    ),
    "Lay the data flat. The ID stays, the Fisher rank falls. What does the Fisher rank count, then?",
    "The *linear span* of the data, times the classes less one (adding the same number to all scores changes no "
    "probability). Flat data of dimension d span d directions; bent data of the same dimension span all of them, some "
    "weakly: the spectrum falls off, and where it is cut decides the rank. Counting small eigenvalues needs a threshold that "
    "nothing in the theory gives.",
    f"Amari, Neural Computation 10 (1998); {_GELORA}, section 3.",
)

LIMITS = Words(
    "What the theorem does not say",
    "GeLoRA's Theorem 3.2 is about a *block*: its rank is at least the dimension $d_i$ of its output manifold. Its Corollary "
    "3.2.1 is about *rises*, and bounds from below how many *parameters* $N_i$ block $i$ needs. The rule takes that bound for "
    "the *rank of an update* to each matrix, and adds an offset; neither statement says so, and that the rise of the "
    "*pretrained* states tells what *fine-tuning* needs is a heuristic. The bound can be 0, and 0 does not mean that no update "
    "is needed. Here a frozen layer must learn a rotation: distances stay, so every dimension stays and the rise is 0, yet the "
    "update needs two ranks a plane.",
    (
        r"d_i \le \operatorname{rank}(T_i) \qquad \text{(Theorem 3.2)}",
        r"\max(d_i - d_{i-1},\ 0) \le N_i \qquad \text{(Corollary 3.2.1)}",
        r"r_i = \max(d_i - d_{i-1},\ 0) + \text{offset} \qquad \text{(the rule)}",
    ),
    "Where does the offset come from, and what does it cost?",
    "From neither of them: it keeps blocks whose bound is 0 trainable, and on measured curves it is most of the "
    "budget. That is why it is a slider on the Ranks page, with its cost beside it.",
    f"{_GELORA}, Theorem 3.2, Corollary 3.2.1 and section 3 (nobody else has evaluated it); "
    "reduced-rank regression: Izenman, J. Multivariate Analysis 5 (1975).",
)
