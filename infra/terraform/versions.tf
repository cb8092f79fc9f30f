terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }

  # Where the state lies is whoever applies it to say: terraform init -backend-config=...; it holds no key and no
  # password (the database's is RDS's own), but it tells how everything is made.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account]

  default_tags {
    tags = { cloakhouse = var.name }
  }
}
