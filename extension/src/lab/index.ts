/** The plugin: puts the ticker, the sidebar and the commands into JupyterLab. */

import { ILabShell } from '@jupyterlab/application';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, Notification, showDialog } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookActions } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';

import { element } from '../shared/dom.js';
import { Store } from '../shared/store.js';
import { connect } from './api.js';
import { cellsToInsert } from './cells.js';
import { Controller } from './controller.js';
import type { Lab } from './controller.js';
import { beginDrag } from './drag.js';
import { CATEGORY, commandsOf } from './palette.js';
import { DEFAULT_REFRESH_S, Poller } from './poller.js';
import { Sidebar } from './sidebar.js';
import { Ticker } from './ticker.js';

export const PLUGIN_ID = 'conduit-nb:plugin';
const SIDEBAR_ID = 'conduit-sidebar';
const REDRAW_EVERY_MS = 1_000;

const icon = new LabIcon({
  name: 'conduit-nb:conduit',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 16 16">' +
    '<path class="jp-icon3" fill="#616161" d="M1 3h5v4h4V5h5v8h-5V9H6v4H1V9h3V7H1z"/></svg>',
});

const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: 'What runs and what it costs: ticker, sidebar, commands.',
  autoStart: true,
  optional: [ILabShell, IStatusBar, ICommandPalette, INotebookTracker, ISettingRegistry],
  activate,
};

export default plugin;

function activate(
  app: JupyterFrontEnd,
  labShell: ILabShell | null,
  statusBar: IStatusBar | null,
  palette: ICommandPalette | null,
  notebooks: INotebookTracker | null,
  settingRegistry: ISettingRegistry | null,
): void {
  const http = connect(app.serviceManager.serverSettings);
  const store = new Store();
  const poller = new Poller(http, store, DEFAULT_REFRESH_S * 1000);
  const controller = new Controller(http, store, poller, labOf(notebooks));
  const open = (): void => {
    app.shell.activateById(SIDEBAR_ID);
  };

  const sidebarWidget = new Widget();
  sidebarWidget.id = SIDEBAR_ID;
  sidebarWidget.title.icon = icon;
  sidebarWidget.title.caption = 'Conduit: what runs and what it costs';
  const sidebar = new Sidebar(sidebarWidget.node, controller);
  beginDrag(sidebarWidget.node, (target) => sidebar.draggedCell(target));
  app.shell.add(sidebarWidget, labShell ? 'left' : 'right', { rank: 450, type: 'Conduit' });

  const tickerWidget = new Widget();
  const ticker = new Ticker(tickerWidget.node, store, {
    open,
    terminateAll: () => void controller.terminateAll(),
  });
  statusBar?.registerStatusItem('conduit-nb:ticker', {
    item: tickerWidget,
    align: 'left',
    rank: 5,
  });

  for (const command of commandsOf(controller, open)) {
    app.commands.addCommand(command.id, {
      label: command.label,
      caption: command.caption,
      execute: () => command.run(),
    });
    palette?.addItem({ command: command.id, category: CATEGORY });
  }

  if (settingRegistry) {
    void obeySettings(settingRegistry, poller, controller, ticker);
  }
  // Ages and amounts grow by themselves; an answer that does not come must not stop that.
  setInterval(() => {
    if (!document.hidden) {
      ticker.update();
      sidebar.update();
    }
  }, REDRAW_EVERY_MS);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) {
      void poller.refresh();
    }
  });
  poller.start();
}

async function obeySettings(
  registry: ISettingRegistry,
  poller: Poller,
  controller: Controller,
  ticker: Ticker,
): Promise<void> {
  try {
    const settings = await registry.load(PLUGIN_ID);
    const obey = (): void => {
      const seconds = settings.composite['refreshSeconds'];
      const cap = settings.composite['maxUsd'];
      poller.pace((typeof seconds === 'number' ? seconds : DEFAULT_REFRESH_S) * 1000);
      controller.maxUsd = typeof cap === 'number' ? cap : null;
      ticker.showsIdle = settings.composite['showIdleTicker'] !== false;
      ticker.update();
    };
    settings.changed.connect(obey);
    obey();
  } catch (error) {
    console.warn('Conduit keeps its default settings:', error);
  }
}

function labOf(notebooks: INotebookTracker | null): Lab {
  return {
    ask: async ({ title, body, accept, form }) => {
      const filledIn = element('div', {}, element('p', {}, body), form?.view());
      const answer = await showDialog({
        title,
        body: form ? new Widget({ node: filledIn }) : body,
        focusNodeSelector: '[aria-invalid=true]',
        buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: accept })],
        defaultButton: 0,
      });
      form?.keep(filledIn);
      return answer.button.accept;
    },
    tell: (message, kind) => {
      Notification.emit(message, kind, { autoClose: kind === 'error' ? 15_000 : 4_000 });
    },
    insertCell: async (text) => {
      const notebook = notebooks?.currentWidget?.content;
      if (!notebook?.model) {
        return false;
      }
      const code = Array.from(notebook.model.cells).filter((cell) => cell.type === 'code');
      const sources = code.map((cell) => cell.sharedModel.source);
      for (const source of cellsToInsert(text, sources)) {
        NotebookActions.insertBelow(notebook);
        notebook.activeCell?.model.sharedModel.setSource(source);
      }
      await NotebookActions.focusActiveCell(notebook);
      return true;
    },
    copy: (text) => navigator.clipboard.writeText(text),
  };
}
