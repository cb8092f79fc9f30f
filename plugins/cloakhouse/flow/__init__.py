"""Airflow: the DAG factory, operators, the local run and the console's processes. The only room that imports airflow."""
