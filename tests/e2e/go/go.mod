module soth-mitm-e2e

go 1.19
