package policy_test

import (
	"fmt"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/policy"
)

func Example() {
	p, err := policy.Compile(&api.NetworkPolicy{Mode: api.ModeEnforce, DefaultEffect: api.EffectDeny, Rules: []api.NetworkRule{
		{ID: "rul_1", Host: "*.example.com", Effect: api.EffectAllow, Methods: []string{"GET"}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	get, post := p.Decide("api.example.com", "GET", "/"), p.Decide("api.example.com", "POST", "/")
	fmt.Println(get.Effect, get.RuleID, post.Effect)
	fmt.Println(p.DecideHost("api.example.com").Effect, p.NeedsRequest("api.example.com"))
	// Output:
	// allow rul_1 deny
	// deny true
}
