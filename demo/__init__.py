"""The demo: Jabba verifies the software supply chain of the environment that it runs in.

``python -m demo`` starts all of Jabba, submits one concurrent job with a task for every installed distribution, and
then a sequential one that collects the answers, ranks them, writes a report and verifies it.
"""
