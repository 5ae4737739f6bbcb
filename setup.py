"""Packaging of both halves of DIO; tool settings stand in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    name="dio",
    version="0.1.0",
    description="Host agent and nerve center that watch a fleet of Linux hosts",
    python_requires=">=3.11",
    packages=find_packages(include=["dio_daemon*", "nerve_center*"]),
    package_data={
        "nerve_center": [
            "api/openapi.yaml",
            "dashboard/static/*",
            "dashboard/templates/*",
            "store/migrations/*.py",
            "store/migrations/versions/*.py",
        ],
        "dio_daemon": ["py.typed", "detect/*.toml"],
    },
    install_requires=[
        # agent
        "sdnotify",
        "psutil",
        "requests",
        # nerve center
        "flask",
        "gunicorn",
        "gevent",
        "SQLAlchemy",
        "alembic",
        "PyYAML",
        "fastjsonschema",
        "click",
    ],
    extras_require={"notifications": ["apprise", "tzdata"], "postgresql": ["psycopg2"]},
    entry_points={
        "console_scripts": [
            "dio-agent = dio_daemon.start:main",
            "dioctl = dio_daemon.ctl:main",
            "dio-nerve-center = nerve_center.serve:main",
            "dio-nerve-center-keeper = nerve_center.keeper.main:main",
            "nervectl = nerve_center.nervectl:main",
        ]
    },
)
