output "vpc_id" {
  value = aws_vpc.this.id
}

output "public_subnet_ids" {
  value = aws_subnet.public[*].id
}

# Nothing in them reaches out before its route is there.
output "private_subnet_ids" {
  value      = aws_subnet.private[*].id
  depends_on = [aws_route.by_nat, aws_route_table_association.private]
}
