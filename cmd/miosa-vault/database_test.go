package main

import "testing"

func TestWithPassword(t *testing.T) {
	for url, want := range map[string]bool{
		"postgres://vault@db.example/vault":                                           false,
		"postgres://vault:x@db.example/vault":                                         true,
		"postgresql://vault@db.example:5432/vault?passfile=/p":                        false,
		"postgres://vault@db.example/vault?password=x":                                true,
		"postgres://vault@db.example/vault?sslkey=/k&sslpassword=x":                   true,
		"host=db.example user=vault password = x":                                     true,
		"host=db.example user=vault sslpassword=x":                                    true,
		"host=db.example user=vault passfile=/p sslkey=/k application_name=passwords": false,
	} {
		if got := withPassword.MatchString(url); got != want {
			t.Errorf("%s: %t", url, got)
		}
	}
}
