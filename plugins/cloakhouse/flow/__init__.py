"""The only room that imports airflow: DAG factory, operators, local run, console processes."""
