package main

import (
	"context"
	"errors"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/vault"
)

// readSeed reads a .env file. "" is no file, and no variables.
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
func putSeed(ctx context.Context, store *vault.Store, operator vault.Actor, r api.Resource, v dotenv.Variable) error {
	_, _, _, err := store.PutSecret(ctx, operator, vault.PutSecret{
		Name: v.Name, Type: "env_var", Value: &v.Value, ResourceType: r.Type, ResourceID: r.ID, ExposeAsEnv: v.Name,
	})
	return err
}
