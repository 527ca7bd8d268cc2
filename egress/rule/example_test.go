package rule_test

import (
	"fmt"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/rule"
)

func Example() {
	rules, err := rule.Compile([]api.EgressRule{{Hosts: []string{"*.example.com"}, Paths: []string{"/v1/**"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	host, err := rule.Host("API.Example.com.")
	fmt.Println(host, err, rules.Host(host, 443), rules.Request("GET", "/v1/items"), rules.Allows(rule.DefaultSlots[0]))
	fmt.Println(rules.Denied(host, 443, "GET", "/v2/items"))

	slot, err := rule.ParseSlot("header:x-api-key")
	fmt.Println(slot, err, slot.Kind == rule.Header, rules.Allows(slot))

	path, err := rule.ParsePath("/repos/*")
	fmt.Println(path.Matches("/repos/a"), path.Matches("/repos/a/b"), err)
	// Output:
	// api.example.com <nil> true true true
	// egress.paths: /v1/**
	// header:X-Api-Key <nil> true true
	// true false <nil>
}
