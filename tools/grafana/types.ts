// What a dashboard's JSON is, by the types that Grafana publishes from its own schema.
import type * as grafana from '@grafana/schema';
import type * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has an enumeration's values, not its names.
type Plain<T> = unknown extends T
  ? T
  : T extends string
    ? string extends T
      ? string
      : `${T}`
    : T extends (infer U)[]
      ? Plain<U>[]
      : T extends object
        ? { [K in keyof T]: Plain<T[K]> }
        : T;

// The package has no type for the queries of Prometheus' data source: these are its fields.
interface Query {
  datasource: { type: 'prometheus'; uid: string };
  expr: string;
  legendFormat: string;
  refId: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
}

interface FieldConfig<Custom> {
  defaults: Omit<Plain<grafana.FieldConfig>, 'custom'> & { custom?: Plain<Partial<Custom>> };
  overrides: Plain<grafana.FieldConfigSource['overrides']>;
}

type Panel<Kind extends string, Options, Custom> = Omit<
  Plain<grafana.Panel>,
  'type' | 'options' | 'fieldConfig' | 'targets'
> & {
  type: Kind;
  options: Plain<Options>;
  fieldConfig: FieldConfig<Custom>;
  targets: Query[];
};

export type Dashboard = Omit<Plain<grafana.Dashboard>, 'panels'> & {
  panels: (
    | Panel<'bargauge', bargauge.Options, never>
    | Panel<'stat', stat.Options, never>
    | Panel<'table', table.Options, table.FieldConfig>
    | Panel<'timeseries', timeseries.Options, timeseries.FieldConfig>
  )[];
};
