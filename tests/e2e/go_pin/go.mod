module pin

go 1.19
