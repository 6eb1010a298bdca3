"""What accelerators there are: one row each, and where the figures come from. Only data.

Layer 2: pure.

The columns: arch is NVIDIA's compute capability, AMD's target or Apple's family; GB the memory
that is sold; MiB the memory that the driver reports (nvidia-smi, rocm-smi), `-` where no report
was at hand; GB/s the memory's bandwidth; then the peak in TFLOPs (int8: TOPs) of the best units
for that type, always dense (NVIDIA's leaflets print twice as much, "with sparsity"), with fp32
accumulation, `-` where the hardware has none; the link between devices with both directions
together in GB/s (NV: NVLink among all devices of a node; BR: an NVLink bridge between two cards,
where somebody put one; IF: Infinity Fabric); and the power limit in watts.

Sources of the peaks, bandwidths, links and watts:
  data centre   NVIDIA's data sheets of each product; of HGX boards divided by their GPUs. The
                bandwidth of B200 is its bus times its clock (github.com/pytorch/ao, pull 4002), of
                A10G NVIDIA's figures for AWS. MI250: one of its two dies, as the system shows them.
  workstation,  NVIDIA's data sheets; the peaks by type are multiples of fp32 as in the appendices
  consumer      of the Turing, Ampere GA102, Ada and RTX Blackwell white papers.
  AMD           the data sheets of the MI series and the CDNA white papers.
  Apple         bandwidths and largest memories from Apple's announcements; Apple prints no
                TFLOPs: they are GPU cores x 128 lanes x 2 x clock, and approximate.
Sources of MiB: nvidia-smi's own output in public reports, for Modal's cards all in one place
(github.com/modal-labs/modal-client, pull 2797).
"""

from __future__ import annotations

COLUMNS = """
name                arch    GB    MiB GB/s  fp32  tf32  bf16  fp16   fp8   fp4  int8 link        W
"""

DATA_CENTRE = """
V100 PCIe 16GB      7.0     16  16384  900    14     -     -   112     -     -    56 PCIe3/32  250
V100 PCIe 32GB      7.0     32  32768  900    14     -     -   112     -     -    56 PCIe3/32  250
V100 FHHL 16GB      7.0     16  16384  829  13.2     -     - 105.7     -     -  52.8 PCIe3/32  150
V100 SXM 16GB       7.0     16  16384  900  15.7     -     -   125     -     -  62.8 NV2/300   300
V100 SXM 32GB       7.0     32  32768  900  15.7     -     -   125     -     -  62.8 NV2/300   300
V100S PCIe 32GB     7.0     32  32768 1134  16.4     -     -   130     -     -  65.6 PCIe3/32  250
T4                  7.5     16  15360  320   8.1     -     -    65     -     -   130 PCIe3/32   70
A2                  8.6     16  15356  200   4.5     9    18    18     -     -    36 PCIe4/32   60
A10                 8.6     24  23028  600  31.2  62.5   125   125     -     -   250 PCIe4/64  150
A10G                8.6     24  23028  600  31.5    35    70    70     -     -   140 PCIe4/64  300
A16                 8.6     16  15356  200   4.5     9  17.9  17.9     -     -  35.9 PCIe4/64   62
A30                 8.0     24  24576  933  10.3    82   165   165     -     -   330 BR3/200   165
A40                 8.6     48  46068  696  37.4  74.8 149.7 149.7     -     - 299.3 BR3/112   300
A100 PCIe 40GB      8.0     40  40960 1555  19.5   156   312   312     -     -   624 BR3/600   250
A100 PCIe 80GB      8.0     80  81920 1935  19.5   156   312   312     -     -   624 BR3/600   300
A100 SXM 40GB       8.0     40  40960 1555  19.5   156   312   312     -     -   624 NV3/600   400
A100 SXM 80GB       8.0     80  81920 2039  19.5   156   312   312     -     -   624 NV3/600   400
A800 PCIe 80GB      8.0     80  81920 1935  19.5   156   312   312     -     -   624 BR3/400   300
A800 SXM 80GB       8.0     80  81920 2039  19.5   156   312   312     -     -   624 NV3/400   400
L4                  8.9     24  23034  300  30.3    60   121   121 242.5     - 242.5 PCIe4/64   72
L20                 8.9     48  46068  864  59.8  59.8 119.5 119.5   239     -   239 PCIe4/64  275
L40                 8.9     48  46068  864  90.5  90.5   181   181   362     -   362 PCIe4/64  300
L40S                8.9     48  46068  864  91.6   183   362   362   733     -   733 PCIe4/64  350
H100 PCIe 80GB      9.0     80  81559 2039  51.2   378   756   756  1513     -  1513 BR4/600   350
H100 NVL 94GB       9.0     94  95830 3938    60 417.5   835   835  1671     -  1671 BR4/600   400
H100 SXM 80GB       9.0     80  81559 3352  66.9 494.5   989   989  1979     -  1979 NV4/900   700
H800 SXM 80GB       9.0     80  81559 3352  66.9 494.5   989   989  1979     -  1979 NV4/400   700
H20 SXM 96GB        9.0     96  97871 4000    44    74   148   148   296     -   296 NV4/900   400
H200 NVL 141GB      9.0    141 143771 4800    60 417.5   835   835  1671     -  1671 BR4/900   600
H200 SXM 141GB      9.0    141 143771 4800  66.9 494.5   989   989  1979     -  1979 NV4/900   700
GH200 96GB          9.0     96  97871 4000  66.9 494.5   989   989  1979     -  1979 NV4/900  1000
GH200 144GB         9.0    144      - 4900  66.9 494.5   989   989  1979     -  1979 NV4/900  1000
B100 SXM            10.0   180      - 8000    60   900  1750  1750  3500  7000  3500 NV5/1800  700
B200 SXM            10.0   180 183359 7672    75  1125  2250  2250  4500  9000  4500 NV5/1800 1000
GB200               10.0   186 189471 8000    80  1250  2500  2500  5000 10000  5000 NV5/1800 1200
B300 SXM            10.3   288 275040 7750    75  1125  2250  2250  4500 13125   125 NV5/1800 1100
GB300               10.3   288 284208 8000    80  1250  2500  2500  5000 15000   165 NV5/1800 1400
GB10                12.1   128      -  273  29.7  59.4 118.8 118.8 237.6 475.2 237.6 unified   140
"""

WORKSTATION = """
Quadro RTX 4000     7.5      8   8192  416   7.1     -     -  56.8     -     - 113.6 PCIe3/32  160
Quadro RTX 5000     7.5     16  16384  448  11.2     -     -  89.6     -     - 179.2 BR2/50    230
Quadro RTX 6000     7.5     24  24576  672  16.3     -     - 130.4     -     - 260.8 BR2/100   260
Quadro RTX 8000     7.5     48  49152  672  16.3     -     - 130.4     -     - 260.8 BR2/100   260
RTX A2000 6GB       8.6      6   6138  288     8    16    32    32     -     -    64 PCIe4/64   70
RTX A2000 12GB      8.6     12  12282  288     8    16    32    32     -     -    64 PCIe4/64   70
RTX A4000           8.6     16  16376  448  19.2  38.4  76.8  76.8     -     - 153.6 PCIe4/64  140
RTX A4500           8.6     20  20470  640  23.7  47.4  94.8  94.8     -     - 189.6 BR3/112   200
RTX A5000           8.6     24  24564  768  27.8  55.6 111.2 111.2     -     - 222.4 BR3/112   230
RTX A5500           8.6     24  24564  768  34.1  68.2 136.4 136.4     -     - 272.8 BR3/112   230
RTX A6000           8.6     48  49140  768  38.7  77.4 154.8 154.8     -     - 309.6 BR3/112   300
RTX 2000 Ada        8.9     16  16380  224    12    24    48    48    96     -    96 PCIe4/32   70
RTX 4000 SFF Ada    8.9     20  20475  280  19.2  38.4  76.8  76.8 153.6     - 153.6 PCIe4/64   70
RTX 4000 Ada        8.9     20  20475  360  26.7  53.4 106.8 106.8 213.6     - 213.6 PCIe4/64  130
RTX 4500 Ada        8.9     24  24570  432  39.6  79.2 158.4 158.4 316.8     - 316.8 PCIe4/64  210
RTX 5000 Ada        8.9     32  32760  576  65.3 130.6 261.2 261.2 522.4     - 522.4 PCIe4/64  250
RTX 6000 Ada        8.9     48  49140  960  91.1 182.2 364.4 364.4 728.8     - 728.8 PCIe4/64  300
RTX PRO 2000        12.0    16  16311  288    17    34    68    68   136   272   136 PCIe5/64   70
RTX PRO 4000 SFF    12.0    24  24467  432  25.7  51.4 102.8 102.8 205.6 411.2 205.6 PCIe5/64   70
RTX PRO 4000        12.0    24  24467  672  36.8  73.6 147.2 147.2 294.4 588.8 294.4 PCIe5/128  140
RTX PRO 4500        12.0    32  32623  896  50.5   101   202   202   404   808   404 PCIe5/128  200
RTX PRO 5000 48GB   12.0    48  48935 1344  66.9 133.8 267.6 267.6 535.2  1070 535.2 PCIe5/128  300
RTX PRO 5000 72GB   12.0    72      - 1344  66.9 133.8 267.6 267.6 535.2  1070 535.2 PCIe5/128  300
RTX PRO 6000 Max-Q  12.0    96  97887 1792 109.7 219.4 438.8 438.8 877.6  1755 877.6 PCIe5/128  300
RTX PRO 6000 Server 12.0    96  97887 1597   120   240   480   480   960  1920   960 PCIe5/128  600
RTX PRO 6000 WS     12.0    96  97887 1792   126   252   504   504  1008  2016  1008 PCIe5/128  600
"""

CONSUMER = """
RTX 2060 6GB        7.5      6   6144  336   6.5     -     -    26     -     -   104 PCIe3/32  160
RTX 2060 12GB       7.5     12  12288  336   7.2     -     -  28.8     -     - 115.2 PCIe3/32  184
RTX 2060 SUPER      7.5      8   8192  448   7.2     -     -  28.8     -     - 115.2 PCIe3/32  175
RTX 2070            7.5      8   8192  448   7.5     -     -    30     -     -   120 PCIe3/32  175
RTX 2070 SUPER      7.5      8   8192  448   9.1     -     -  36.4     -     - 145.6 BR2/50    215
RTX 2080            7.5      8   8192  448  10.1     -     -  40.4     -     - 161.6 BR2/50    215
RTX 2080 SUPER      7.5      8   8192  496  11.2     -     -  44.8     -     - 179.2 BR2/50    250
RTX 2080 Ti         7.5     11  11264  616  13.4     -     -  53.6     -     - 214.4 BR2/100   250
TITAN RTX           7.5     24  24576  672  16.3     -     - 130.4     -     - 260.8 BR2/100   280
RTX 3050 6GB        8.6      6   6144  168   6.8   6.8  13.6  13.6     -     -  54.4 PCIe4/32   70
RTX 3050 8GB        8.6      8   8192  224   9.1   9.1  18.2  18.2     -     -  72.8 PCIe4/32  130
RTX 3060 8GB        8.6      8   8192  240  12.7  12.7  25.4  25.4     -     - 101.6 PCIe4/64  170
RTX 3060 12GB       8.6     12  12288  360  12.7  12.7  25.4  25.4     -     - 101.6 PCIe4/64  170
RTX 3060 Ti         8.6      8   8192  448  16.2  16.2  32.4  32.4     -     - 129.6 PCIe4/64  200
RTX 3070            8.6      8   8192  448  20.3  20.3  40.6  40.6     -     - 162.4 PCIe4/64  220
RTX 3070 Ti         8.6      8   8192  608  21.7  21.7  43.4  43.4     -     - 173.6 PCIe4/64  290
RTX 3080 10GB       8.6     10  10240  760  29.8  29.8  59.6  59.6     -     - 238.4 PCIe4/64  320
RTX 3080 12GB       8.6     12  12288  912  30.6  30.6  61.2  61.2     -     - 244.8 PCIe4/64  350
RTX 3080 Ti         8.6     12  12288  912  34.1  34.1  68.2  68.2     -     - 272.8 PCIe4/64  350
RTX 3090            8.6     24  24576  936  35.6  35.6  71.2  71.2     -     - 284.8 BR3/112   350
RTX 3090 Ti         8.6     24  24564 1008    40    40    80    80     -     -   320 BR3/112   450
RTX 4060            8.9      8   8188  272  15.1  15.1  30.2  30.2  60.4     - 120.8 PCIe4/32  115
RTX 4060 Ti 8GB     8.9      8   8188  288  22.1  22.1  44.2  44.2  88.4     - 176.8 PCIe4/32  160
RTX 4060 Ti 16GB    8.9     16  16380  288  22.1  22.1  44.2  44.2  88.4     - 176.8 PCIe4/32  165
RTX 4070            8.9     12  12282  504  29.1  29.1  58.2  58.2 116.4     - 232.8 PCIe4/64  200
RTX 4070 SUPER      8.9     12  12282  504  35.5  35.5    71    71   142     -   284 PCIe4/64  220
RTX 4070 Ti         8.9     12  12282  504  40.1  40.1  80.2  80.2 160.4     - 320.8 PCIe4/64  285
RTX 4070 Ti SUPER   8.9     16  16376  672  44.1  44.1  88.2  88.2 176.4     - 352.8 PCIe4/64  285
RTX 4080            8.9     16  16376  717  48.7  48.7  97.4  97.4 194.8     - 389.6 PCIe4/64  320
RTX 4080 SUPER      8.9     16  16376  736  52.2  52.2 104.4 104.4 208.8     - 417.6 PCIe4/64  320
RTX 4090            8.9     24  24564 1008  82.6  82.6 165.2 165.2 330.4     - 660.8 PCIe4/64  450
RTX 4090 D          8.9     24  24564 1008  73.5  73.5   147   147   294     -   588 PCIe4/64  425
RTX 5050            12.0     8   8151  320  13.2  13.2  26.4  26.4  52.8 211.2 105.6 PCIe5/64  130
RTX 5060            12.0     8   8151  448  19.2  19.2  38.4  38.4  76.8 307.2 153.6 PCIe5/64  145
RTX 5060 Ti 8GB     12.0     8   8151  448  23.7  23.7  47.4  47.4  94.8 379.2 189.6 PCIe5/64  180
RTX 5060 Ti 16GB    12.0    16  16311  448  23.7  23.7  47.4  47.4  94.8 379.2 189.6 PCIe5/64  180
RTX 5070            12.0    12  12227  672  30.9  30.9  61.8  61.8 123.6 494.4 247.2 PCIe5/128  250
RTX 5070 Ti         12.0    16  16303  896  43.9  43.9  87.8  87.8 175.6 702.4 351.2 PCIe5/128  300
RTX 5080            12.0    16  16303  960  56.3  56.3 112.6 112.6 225.2 900.8 450.4 PCIe5/128  360
RTX 5090            12.0    32  32607 1792 104.8 104.8 209.6 209.6 419.2  1677 838.4 PCIe5/128  575
RTX 5090 D          12.0    32  32607 1792 104.8 104.8 209.6 209.6 419.2  1677 838.4 PCIe5/128  575
"""

AMD = """
MI100               gfx908  32  32752 1229  23.1     -  92.3 184.6     -     - 184.6 IF/276    300
MI210               gfx90a  64  65520 1638  22.6     -   181   181     -     -   181 IF/300    300
MI250               gfx90a  64  65520 1638  22.6     -   181   181     -     -   181 IF/300    280
MI250X              gfx90a  64  65520 1638  23.9     - 191.5 191.5     -     - 191.5 IF/400    280
MI300A              gfx942 128      - 5300 122.6 490.3 980.6 980.6  1961     -  1961 IF/768    550
MI300X              gfx942 192 196592 5300 163.4 653.7  1307  1307  2615     -  2615 IF/896    750
MI325X              gfx942 256 262128 6000 163.4 653.7  1307  1307  2615     -  2615 IF/896   1000
MI350X              gfx950 288 294896 8000 144.2     -  2307  2307  4614  9227  4614 IF/1075  1000
MI355X              gfx950 288 294896 8000 157.3     -  2517  2517  5033 10066  5033 IF/1075  1400
"""

APPLE = """
Apple M1            m1      16      -   68   2.6     -     -   2.6     -     -     - unified     -
Apple M1 Pro        m1      32      -  200   5.2     -     -   5.2     -     -     - unified     -
Apple M1 Max        m1      64      -  400  10.4     -     -  10.4     -     -     - unified     -
Apple M1 Ultra      m1     128      -  800  20.8     -     -  20.8     -     -     - unified     -
Apple M2            m2      24      -  100   3.6     -   3.6   3.6     -     -     - unified     -
Apple M2 Pro        m2      32      -  200   6.8     -   6.8   6.8     -     -     - unified     -
Apple M2 Max        m2      96      -  400  13.6     -  13.6  13.6     -     -     - unified     -
Apple M2 Ultra      m2     192      -  800  27.2     -  27.2  27.2     -     -     - unified     -
Apple M3            m3      24      -  102   4.1     -   4.1   4.1     -     -     - unified     -
Apple M3 Pro        m3      36      -  153   7.4     -   7.4   7.4     -     -     - unified     -
Apple M3 Max        m3     128      -  409  16.4     -  16.4  16.4     -     -     - unified     -
Apple M3 Ultra      m3     512      -  819  32.8     -  32.8  32.8     -     -     - unified     -
Apple M4            m4      32      -  120   4.3     -   4.3   4.3     -     -     - unified     -
Apple M4 Pro        m4      64      -  273   8.5     -   8.5   8.5     -     -     - unified     -
Apple M4 Max        m4     128      -  546    17     -    17    17     -     -     - unified     -
Apple M5            m5      32      -  153   4.2     -   4.2   4.2     -     -     - unified     -
Apple M5 Pro        m5      64      -  307   8.3     -   8.3   8.3     -     -     - unified     -
Apple M5 Max        m5     128      -  614  16.6     -  16.6  16.6     -     -     - unified     -
"""

# Memory that a process can have at most, in GiB: less than the driver reports, which keeps some
# for itself. What torch.OutOfMemoryError calls "total capacity" in public reports, which differ by
# up to 0.5 % with the driver. For cards that are not here see accelerators.py.
USABLE_GIB = {
    "V100 SXM 16GB": 15.77,
    "V100 SXM 32GB": 31.73,
    "T4": 14.56,
    "A10": 22.05,
    "A10G": 22.05,
    "A40": 44.32,
    "A100 SXM 40GB": 39.38,
    "A100 PCIe 40GB": 39.38,
    "A100 SXM 80GB": 79.14,
    "A100 PCIe 80GB": 79.14,
    "L4": 22.03,
    "L40S": 44.39,
    "H100 PCIe 80GB": 79.19,
    "H100 SXM 80GB": 79.19,
    "H200 SXM 141GB": 139.72,
    "B200 SXM": 178.35,
    "RTX A6000": 47.41,
    "RTX 6000 Ada": 47.37,
    "RTX 3090": 23.57,
    "RTX 4090": 23.52,
    "RTX 5090": 31.34,
}

# Names that are not made of a row's own words. What the matching does by itself (case, spaces,
# dashes, vendor, "Tesla", "Generation", "80GB", "SXM4", "HBM3") is not repeated here.
ALIASES = {
    "V100S PCIe 32GB": ("V100S",),
    "T4": ("T4G",),
    "A100 SXM 40GB": ("nvidia-tesla-a100",),
    "H100 SXM 80GB": ("NVIDIA H100 80GB HBM3", "nvidia-h100-mega-80gb", "H100 SXM5GDR"),
    "H200 SXM 141GB": ("NVIDIA H200", "nvidia-h200-141gb"),
    "GH200 96GB": ("GH200 480GB", "GH200"),
    "GH200 144GB": ("GH200 144G HBM3e",),
    "B300 SXM": ("NVIDIA B300 SXM6 AC",),
    "GB10": ("DGX Spark",),
    "Quadro RTX 4000": ("RTX 4000",),
    "Quadro RTX 5000": ("RTX 5000",),
    "Quadro RTX 6000": ("RTX 6000",),
    "Quadro RTX 8000": ("RTX 8000",),
    "RTX A4000": ("A4000",),
    "RTX A4500": ("A4500",),
    "RTX A5000": ("A5000",),
    "RTX A5500": ("A5500",),
    "RTX A6000": ("A6000",),
    "RTX 4000 SFF Ada": ("RTX 4000 Ada SFF",),
    "RTX PRO 6000 Server": ("RTX PRO Server 6000",),
    "RTX PRO 6000 WS": ("RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 WK"),
}
