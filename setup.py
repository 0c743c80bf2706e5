"""Installation of sertools; `requirements.txt` holds the exact versions that the tests run with."""

from setuptools import find_packages, setup

RUN = [
    # torchaudio 2.11 (the last release) does not name the torch it was built for; this range is
    # the one its compiled extension loads with. A CPU build of torch in this range works as well.
    "torch>=2.11,<2.14",
    "torchaudio>=2.11,<2.12",
    "speechbrain==1.1.2",
    "transformers>=5.23,<5.24",
    "hyperpyyaml>=1.2.3,<1.3",
    "pyyaml>=6",
    "packaging>=23",
    "sentencepiece>=0.2",
    "soundfile>=0.13",
    "numpy>=1.26",
    "scipy>=1.13",
    "scikit-learn>=1.5",
    "safetensors>=0.5",
    "webdataset>=1.0.2,<2",
    "tensorboard>=2.18",
    "tqdm>=4.66",
    "rich>=13",
]
PARQUET = ["pyarrow>=20"]  # embeddings as Parquet tables
SLURM = ["submitit>=1.5,<2"]  # rows of tables as jobs of Slurm
FIGURES = ["umap-learn>=0.5.9", "pillow>=10.1"]  # UMAP maps, PNG pictures
TEST = ["pytest>=8", "pytest-timeout>=2.3", "pytest-xdist>=3.6", "ruff>=0.9"]

setup(
    name="sertools",
    version="0.1.0",
    description="Recipes that reproduce, compare and use speech emotion recognition research",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["sertools", "sertools.*"]),
    package_data={"sertools.tables": ["papers/*/*.yaml"]},
    install_requires=RUN,
    extras_require={"test": [*TEST, *PARQUET], "parquet": PARQUET, "figures": FIGURES,
                    "slurm": SLURM},
    entry_points={"console_scripts": ["sertools = sertools.cli:main"]},
)
