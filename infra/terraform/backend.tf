# The rest is in dev.s3.tfbackend and prod.s3.tfbackend; the bucket is named when Terraform is initialised: see docs/deployment.md.
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
