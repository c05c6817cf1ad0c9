output "api_url" {
  description = "Where the load balancer answers; clients ask by the name in the certificate, which should point here."
  value       = "https://${module.load_balancer.dns_name}"
}

output "mlflow_url" {
  description = "Where MLflow answers inside the VPC."
  value       = "http://${local.mlflow_host}:${local.ports.mlflow}"
}

output "repositories" {
  description = "Where images are pushed to, by their names."
  value       = { for name, made in module.registry.repositories : name => made.url }
}

output "buckets" {
  description = "Names of the buckets: artifacts, data, logs."
  value       = { for purpose, made in module.buckets.buckets : purpose => made.name }
}

output "secrets" {
  description = "Secrets that wait for a value."
  value       = keys(module.secrets.arns)
}

output "cluster" {
  description = "Cluster of services and tasks."
  value       = module.cluster.name
}

output "service" {
  description = "Service that is deployed anew."
  value       = module.api.name
}

output "tools_task" {
  description = "Family of the task that trains and promotes."
  value       = "${local.name}-tools"
}

output "tools_network" {
  description = "Where that task runs, as `aws ecs run-task --network-configuration` takes it."
  value = jsonencode({ awsvpcConfiguration = {
    subnets        = module.network.private_subnet_ids
    securityGroups = [module.tools_task.security_group_id]
  } })
}

output "tools_log_group" {
  description = "Log of that task."
  value       = module.tools_task.log_group.name
}

output "deploy_role" {
  description = "Role that GitHub workflows take."
  value       = module.github.role_arn
}

output "alarm_topic" {
  description = "Topic that alarms are told to."
  value       = module.alarms.topic_arn
}
