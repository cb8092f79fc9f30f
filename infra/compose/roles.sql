-- Two databases with an owner each, made when the server is first started; the passwords are read from files.
\set control `cat /run/secrets/control-password`
\set airflow `cat /run/secrets/airflow-password`
CREATE ROLE cloakhouse LOGIN PASSWORD :'control';
CREATE ROLE airflow LOGIN PASSWORD :'airflow';
CREATE DATABASE cloakhouse OWNER cloakhouse;
CREATE DATABASE airflow OWNER airflow;
REVOKE CONNECT, TEMPORARY ON DATABASE cloakhouse, airflow, postgres FROM PUBLIC;
