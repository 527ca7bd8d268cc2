package main

import (
	"context"
	"errors"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// readSeed reads the variables of a .env or JSON file; "": there is none.
func readSeed(file string) ([]dotenv.Variable, error) {
	if file == "" {
		return nil, nil
	}
	list, err := dotenv.Read(file)
	if e, ok := errors.AsType[*dotenv.Error](err); ok {
		return nil, cli.WithHint(err, e.Hint())
	}
	return list, err
}

// putSeed stores a variable, and binds it under its name.
func putSeed(ctx context.Context, s *store.Store, operator store.Actor, r api.Resource, v dotenv.Variable) error {
	_, _, _, err := s.PutSecret(ctx, operator, api.NewSecret{
		Name: v.Name, Type: "env_var", Value: v.Value, Resource: r, ExposeAsEnv: v.Name,
	}, nil)
	return err
}
