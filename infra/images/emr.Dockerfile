# Image for an application of EMR Serverless: AWS's own Spark of that release, with the platform beside it. Apart from
# `Dockerfile`, whose builds must not need a digest of AWS's registry. infra/images/README.md tells how it is built.
#
#checkov:skip=CKV_DOCKER_2:EMR Serverless starts its own entry in it and watches its workers itself
#
# No build argument has a default. The release must have Spark of the major line 4, as emr-spark-8.0.0 has.

ARG EMR_DIGEST

FROM public.ecr.aws/emr-serverless/spark/emr-spark-8.0.0@sha256:${EMR_DIGEST} AS emr
ARG AL2023_RELEASE
ARG SOURCE_DATE_EPOCH
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="Cloakhouse on EMR Serverless" \
      org.opencontainers.image.description="Spark drivers and workers of the privacy data platform" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# hadolint ignore=DL3002,DL3066
USER root
SHELL ["/bin/bash", "-o", "errexit", "-o", "nounset", "-o", "pipefail", "-c"]
# Packages of one release of Amazon Linux: the same ones in every build.
# hadolint ignore=DL3041
RUN dnf --releasever="${AL2023_RELEASE:?}" install --assumeyes --setopt=install_weak_deps=False python3.11 python3.11-pip \
    && dnf clean all
COPY infra/images/requirements-build.txt infra/images/requirements-platform.txt /build/
RUN python3.11 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /build/requirements-build.txt \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-build-isolation --only-binary :all: \
         --no-binary pyspark -r /build/requirements-platform.txt
COPY pyproject.toml README.md /opt/cloakhouse/
COPY plugins /opt/cloakhouse/plugins
COPY spark_jobs /opt/cloakhouse/spark_jobs
COPY infra/spark /opt/cloakhouse/infra/spark
WORKDIR /build
RUN SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:?}" /opt/venv/bin/pip install --no-cache-dir --no-deps --no-index \
      --no-build-isolation /opt/cloakhouse
# The user of AWS's image, by the name that the service asks for.
# hadolint ignore=DL3066
USER hadoop:hadoop
WORKDIR /home/hadoop
