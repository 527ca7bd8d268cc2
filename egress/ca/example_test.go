package ca_test

import (
	"fmt"

	"github.com/Miosa-osa/miosa-env/egress/ca"
)

// An authority that clients trust for longer than the broker runs.
func ExampleParse() {
	authority, err := ca.New("sandbox:sb_1", []string{"api.example.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	saved, err := authority.Marshal()
	if err != nil {
		fmt.Println(err)
		return
	}
	restored, err := ca.Parse(saved, "sandbox:sb_1", []string{"api.example.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(authority.PEM()) == string(restored.PEM()))
	// Output: true
}
