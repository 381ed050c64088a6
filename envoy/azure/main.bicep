// MLflow behind the gate on Azure Container Apps. The platform's own ingress is an Envoy that takes
// no filters, so the gate is a container of its own in the same app: the ingress sends to it, and
// MLflow and the policy server listen on the app's loopback, where nobody else can reach them.
// (An MLflow with an internal ingress would be open to every app of the environment.)
//
//   az deployment group create --resource-group mlflow --template-file main.bicep \
//     --parameters registry=… identityId=… postgresHost=… artifactsUri=wasbs://…  \
//     --parameters databasePassword=… adminPassword=… loginClientSecret=…

@description('Of everything.')
param location string = resourceGroup().location

@description('The app, and the first part of its host name.')
param name string = 'mlflow'

@description('An existing managed environment of Container Apps.')
param environmentName string

@description('Where the images are, e.g. example.azurecr.io.')
param registry string

@description('A user-assigned identity that may pull from the registry and use the artifact storage.')
param identityId string

@description('The tag of the images that `cargo xtask dist` and ../images make.')
param version string = '0.1.0'

@description('MLflow with the drivers for Postgres and Azure storage.')
param mlflowImage string

@description('The Postgres server; it has the databases mlflow and mlgate, each with a user of its name.')
param postgresHost string

@description('Of both database users.')
@secure()
param databasePassword string

@description('Of the first administrator, 12 characters or more.')
@secure()
param adminPassword string

@description('Where MLflow keeps artifacts, e.g. wasbs://artifacts@account.blob.core.windows.net.')
param artifactsUri string

@description('The app registration for logins; empty: no EasyAuth, only passwords and tokens.')
param loginClientId string = ''

@description('A secret of that registration.')
@secure()
param loginClientSecret string = ''

@description('A container SAS URL for EasyAuth\'s token store, which hands the login\'s token to the gate.')
@secure()
param tokenStoreSasUrl string = ''

@description('More than one only with databases and artifacts outside the app, as here.')
@minValue(1)
param maxReplicas int = 3

var hostName = '${name}.${managedEnvironment.properties.defaultDomain}'
var login = !empty(loginClientId)
var issuer = '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'

// The keys come from the policy server, which finds them through the issuer's discovery document.
var jwtSettings = {
  issuers: [
    {
      name: 'entra'
      issuer: issuer
      audiences: [loginClientId]
      algorithms: ['RS256']
      username_claims: ['preferred_username', 'oid']
      groups_claim: 'groups'
    }
  ]
}
var envoyTemplate = replace(loadTextContent('envoy.yaml'), 'mlflow.example.com', hostName)
var envoyConfig = replace(envoyTemplate, 'JWT_SETTINGS', login ? string(jwtSettings) : 'null')

var ownSecrets = [
  {
    name: 'envoy-config'
    value: envoyConfig
  }
  {
    name: 'mlflow-database'
    value: 'postgresql://mlflow:${databasePassword}@${postgresHost}/mlflow?sslmode=require'
  }
  {
    name: 'policy-store'
    value: 'postgresql://mlgate:${databasePassword}@${postgresHost}/mlgate?sslmode=require'
  }
  {
    name: 'admin-password'
    value: adminPassword
  }
]
var loginSecrets = [
  {
    name: 'login-secret'
    value: loginClientSecret
  }
  {
    name: 'token-store'
    value: tokenStoreSasUrl
  }
]

var policyServerEnv = [
  {
    name: 'MLGATE_STORE'
    secretRef: 'policy-store'
  }
  {
    name: 'MLGATE_TRACKING_URI'
    secretRef: 'mlflow-database'
  }
  {
    name: 'MLGATE_ADMIN_PASSWORD'
    secretRef: 'admin-password'
  }
  {
    name: 'MLGATE_LOG_FORMAT'
    value: 'json'
  }
]
var loginEnv = [
  {
    name: 'MLGATE_OIDC_ISSUERS'
    value: 'entra=${issuer}'
  }
]

resource managedEnvironment 'Microsoft.App/managedEnvironments@2024-03-01' existing = {
  name: environmentName
}

resource app 'Microsoft.App/containerApps@2024-03-01' = {
  name: name
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    environmentId: managedEnvironment.id
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: {
        external: true
        targetPort: 8080
        transport: 'auto'
        allowInsecure: false
      }
      registries: [
        {
          server: registry
          identity: identityId
        }
      ]
      secrets: login ? concat(ownSecrets, loginSecrets) : ownSecrets
    }
    template: {
      containers: [
        {
          name: 'envoy'
          image: '${registry}/mlgate/envoy:${version}'
          args: ['--config-path', '/etc/mlgate/envoy.yaml']
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          volumeMounts: [
            {
              volumeName: 'envoy-config'
              mountPath: '/etc/mlgate'
            }
          ]
          probes: [
            {
              type: 'Readiness'
              httpGet: {
                path: '/health'
                port: 8080
                httpHeaders: [
                  {
                    name: 'Host'
                    value: hostName
                  }
                ]
              }
              periodSeconds: 5
            }
          ]
        }
        {
          name: 'mlgate'
          image: '${registry}/mlgate/policy-server:${version}'
          args: ['serve']
          env: login ? concat(policyServerEnv, loginEnv) : policyServerEnv
          resources: {
            cpu: json('0.25')
            memory: '0.5Gi'
          }
        }
        {
          name: 'mlflow'
          image: mlflowImage
          command: ['mlflow', 'server']
          args: ['--host=127.0.0.1', '--port=5000', '--serve-artifacts', '--artifacts-destination=${artifactsUri}']
          env: [
            {
              name: 'MLFLOW_BACKEND_STORE_URI'
              secretRef: 'mlflow-database'
            }
            {
              name: 'MLFLOW_SERVER_ALLOWED_HOSTS'
              value: hostName
            }
            {
              name: 'MLFLOW_SERVER_CORS_ALLOWED_ORIGINS'
              value: 'https://${hostName}'
            }
          ]
          resources: {
            cpu: json('1.0')
            memory: '2Gi'
          }
        }
      ]
      scale: {
        minReplicas: 1
        maxReplicas: maxReplicas
      }
      volumes: [
        {
          name: 'envoy-config'
          storageType: 'Secret'
          secrets: [
            {
              secretRef: 'envoy-config'
              path: 'envoy.yaml'
            }
          ]
        }
      ]
    }
  }
}

// Logs browsers in. It lets everything else through: clients come with passwords and tokens, which the
// gate looks at, and who comes with nothing gets the gate's 401.
resource easyAuth 'Microsoft.App/containerApps/authConfigs@2024-03-01' = if (login) {
  parent: app
  name: 'current'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      unauthenticatedClientAction: 'AllowAnonymous'
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: loginClientId
          clientSecretSettingName: 'login-secret'
          openIdIssuer: issuer
        }
        validation: {
          allowedAudiences: [loginClientId]
        }
      }
    }
    login: {
      tokenStore: {
        enabled: true
        azureBlobStorage: {
          sasUrlSettingName: 'token-store'
        }
      }
    }
  }
}

output url string = 'https://${hostName}'
